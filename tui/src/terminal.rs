//! The terminal: it is taken over, and given back whatever happens: at the end, by a signal, by a panic, while suspended. Keys,
//! lines and signals come as events of one queue, so that a key never waits for anything else.

use std::io::{self, BufRead, BufReader, Stdout, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event as Input};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::{CrosstermBackend, TestBackend};
use ratatui::buffer::Buffer;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::app::{App, Effect};
use crate::theme::Depth;
use crate::wire::{self, Message};
use crate::{Connection, Dissect, Options, link, panel};

/// Data is drawn so often at most.
const FRAME: Duration = Duration::from_millis(100);
/// Events that wait; who brings more waits for the screen.
const EVENTS: usize = 256;

/// The terminal is ours.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// What happens.
pub(crate) enum Event {
    Input(Input),
    Line(Box<Result<Message, String>>),
    /// There is a connection.
    Found,
    Lost(String),
    /// The other side has ended for good.
    Closed,
    Signal(i32),
}

/// How the screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user left it.
    Quit,
    /// The other side is done.
    Closed,
    /// By this signal, which the process is to end by.
    Signal(i32),
}

fn depth() -> Depth {
    let variable = |name| env::var(name).ok();
    Depth::of(variable("COLORTERM").as_deref(), variable("TERM").as_deref())
}

/// Shows the screen until the user quits, or until who was given ends.
pub fn run(connection: Connection, options: Options, dissect: Dissect) -> io::Result<Ended> {
    let has_mouse = options.has_mouse;
    let (tell, events) = sync_channel(EVENTS);
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT])?;
    // Before anything is drawn: who gives the terminal back must be there first.
    let screen = Taken::take(has_mouse)?;
    watch(signals, tell.clone())?;
    let keys = tell.clone();
    thread::Builder::new().name("screen-keys".to_owned()).spawn(move || read_keys(&keys))?;
    let asker = link::start(connection, tell)?;
    let app = App::new(options, depth(), dissect);
    let mut terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
    let ended = Session { app, asker, has_mouse }.run(&mut terminal, &events);
    drop(screen);
    ended
}

fn watch(mut signals: Signals, tell: SyncSender<Event>) -> io::Result<()> {
    let watch = move || {
        for signal in signals.forever() {
            if tell.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("screen-signals".to_owned()).spawn(watch).map(drop)
}

fn read_keys(tell: &SyncSender<Event>) {
    while let Ok(input) = event::read() {
        if tell.send(Event::Input(input)).is_err() {
            return;
        }
    }
}

/// A screen that is shown.
struct Session {
    app: App,
    asker: link::Asker,
    has_mouse: bool,
}

impl Session {
    #[allow(clippy::disallowed_methods, reason = "a screen lives by the clock; no latency comes from it")]
    fn run(
        &mut self,
        terminal: &mut Terminal<CrosstermBackend<Stdout>>,
        events: &Receiver<Event>,
    ) -> io::Result<Ended> {
        let start = Instant::now();
        let (mut next, mut is_new) = (start, true);
        loop {
            let now = Instant::now();
            if now >= next {
                self.app.advance(now - start);
                next = now + FRAME;
                if let Some(ended) = self.effects(terminal)? {
                    return Ok(ended);
                }
                // Where nothing has come, only what tells of time changes, once a second.
                if std::mem::take(&mut is_new) || self.app.is_moving() || self.app.is_second_over() {
                    self.draw(terminal)?;
                }
            }
            let is_at_work = self.app.go_on(start.elapsed());
            let pause = if is_at_work { Duration::ZERO } else { next.saturating_duration_since(Instant::now()) };
            let event = match events.recv_timeout(pause) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => {
                    is_new |= is_at_work;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Closed),
            };
            let is_input = matches!(event, Event::Input(_));
            is_new = true;
            if let Some(ended) = self.take(event, start.elapsed(), terminal)? {
                return Ok(ended);
            }
            if let Some(ended) = self.effects(terminal)? {
                return Ok(ended);
            }
            // A key is answered at once, whatever the data do.
            if is_input {
                self.draw(terminal)?;
            }
        }
    }

    fn draw(&mut self, terminal: &mut Terminal<CrosstermBackend<Stdout>>) -> io::Result<()> {
        terminal.draw(|frame| panel::draw(frame, &self.app)).map(drop)
    }

    fn take(
        &mut self,
        event: Event,
        now: Duration,
        terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    ) -> io::Result<Option<Ended>> {
        match event {
            Event::Input(Input::Key(key)) => {
                #[cfg(debug_assertions)]
                panic_for_a_test(key);
                self.app.key(key, now);
            }
            Event::Input(Input::Mouse(mouse)) => {
                let tab = (mouse.row == 1).then(|| panel::tab_at(mouse.column)).flatten();
                let line = self.app.list.get().and_then(|(top, first)| {
                    let below = mouse.row.checked_sub(top)?;
                    Some(first + usize::from(below)).filter(|_| usize::from(below) < self.app.page.get())
                });
                self.app.mouse(mouse, tab, line, now);
            }
            Event::Input(_) => {}
            Event::Line(line) => self.app.line(*line, now),
            Event::Found => self.app.found(now),
            Event::Lost(why) => self.app.lost(why, now),
            Event::Closed => return Ok(Some(Ended::Closed)),
            // Stopped from outside and continued: nobody knows what the terminal shows.
            Event::Signal(SIGCONT) => self.take_again(terminal)?,
            Event::Signal(signal) => return Ok(Some(Ended::Signal(signal))),
        }
        Ok(None)
    }

    fn effects(&mut self, terminal: &mut Terminal<CrosstermBackend<Stdout>>) -> io::Result<Option<Ended>> {
        for effect in self.app.take_effects() {
            match effect {
                Effect::Ask(question) => self.asker.ask(&question),
                Effect::Write { name, bytes, what } => {
                    let text = match fs::write(&name, bytes) {
                        Ok(()) => format!("wrote {what} to {name}"),
                        Err(error) => format!("{name} could not be written: {error}"),
                    };
                    self.app.say(text);
                }
                Effect::Copy(text) => {
                    // OSC 52: the terminal puts it into the clipboard, also over ssh.
                    write!(stdout(), "\x1b]52;c;{}\x07", BASE64_STANDARD.encode(text))?;
                    stdout().flush()?;
                }
                Effect::Redraw => all_again(terminal)?,
                Effect::Suspend => {
                    give_back();
                    emulate_default_handler(SIGTSTP)?;
                    self.take_again(terminal)?;
                }
                Effect::Quit => return Ok(Some(Ended::Quit)),
            }
        }
        Ok(None)
    }

    fn take_again(&mut self, terminal: &mut Terminal<CrosstermBackend<Stdout>>) -> io::Result<()> {
        take_over(self.has_mouse)?;
        all_again(terminal)
    }
}

/// The next frame is drawn whole. (`Terminal::clear` asks the terminal where its cursor is, and the answer would come as a key.)
fn all_again(terminal: &mut Terminal<CrosstermBackend<Stdout>>) -> io::Result<()> {
    let size = terminal.size()?;
    terminal.resize(size.into())
}

/// A test sees by this that a panic gives the terminal back. Only in builds for tests.
#[cfg(debug_assertions)]
fn panic_for_a_test(key: event::KeyEvent) {
    let is_asked = key.code == event::KeyCode::F(12) && env::var_os("TICKSCOPE_TEST_PANIC").is_some();
    assert!(!is_asked, "a panic that a test asked for");
}

/// The terminal is ours for as long as this lives.
struct Taken;

impl Taken {
    fn take(has_mouse: bool) -> io::Result<Taken> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        take_over(has_mouse)?;
        Ok(Taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_over(has_mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    IS_TAKEN.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, cursor::Hide)?;
    if has_mouse { execute!(stdout(), EnableMouseCapture) } else { Ok(()) }
}

/// Once: a terminal that is told twice to leave the other screen puts its cursor where it was before. There is nothing to be done
/// where that fails.
fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
}

/// One frame of that many columns and rows as text.
pub fn once(connection: Connection, options: Options, dissect: Dissect, size: (u16, u16)) -> Result<String, String> {
    let is_given = matches!(connection, Connection::Given(_));
    let stream = link::connect(connection)?;
    let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
    let mut app = App::new(options, Depth::Sixteen, dissect);
    let mut lines = BufReader::new(stream).lines();
    let mut now = Duration::ZERO;
    app.found(now);
    let (mut has_shown, mut asked) = (false, 0);
    loop {
        now += FRAME;
        if has_shown {
            app.advance(now);
        }
        for effect in app.take_effects() {
            if let Effect::Ask(question) = effect {
                asked += usize::from(!question.contains("stream"));
                writeln!(writer, "{question}").map_err(|error| format!("the connection was lost: {error}"))?;
            }
        }
        // All that was asked has come, and nothing more is wanted.
        if has_shown && asked == 0 {
            break;
        }
        let line = lines.next().ok_or("the other side has closed the connection before its snapshot")?;
        let line = line.map_err(|error| format!("nothing came: {error}"))?;
        let message = wire::read(line.as_bytes());
        match &message {
            Ok(Message::Snapshot(snapshot)) => has_shown |= !is_given || snapshot.is_last,
            Ok(Message::Progress(_)) => {}
            Err(error) if !has_shown => return Err(error.clone()),
            Ok(_) | Err(_) => asked = asked.saturating_sub(1),
        }
        app.line(message, now);
    }
    while app.go_on(now) {}
    Ok(frame(&app, size))
}

/// A frame as text, without spaces at the ends of its lines.
pub(crate) fn frame(app: &App, (columns, rows): (u16, u16)) -> String {
    // Drawing to memory cannot fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|frame| panel::draw(frame, app));
    text(terminal.backend().buffer())
}

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

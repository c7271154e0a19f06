//! Where each side of each session was slow, and of all sessions together: the tracks of [`super::slowness`], searched, and
//! what was slow for everybody told from what was slow for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{panic, thread};

use tickscope_model::SegmentKind;

use super::slowness::{Stretch, Track, median};
use super::verdict::Compared;
use super::{Series, SeriesSet};

/// So many samples are worth more than one thread.
const WORTH_THREADS: usize = 1 << 13;
/// Chance that a run in which nothing changes gets a verdict.
pub const ALPHA: f64 = 0.01;
/// What a verdict rests on, for people; its chance is [`ALPHA`].
pub const VERDICT_TEST: &str =
    "Mann-Whitney rank sums in seeded binary segmentation; of runs in which nothing changes at most 1 % get a verdict";
/// So many of the busiest sessions are looked at by themselves.
const SESSIONS: usize = 32;
/// A stretch is everybody's where so many of a hundred sessions that can tell were slow in it.
const EVERYBODY: usize = 80;
/// A session was slow in a stretch where its median was at least so many hundredths of its usual one.
const SLOW_TOO: u64 = 125;

/// Which half of the question a track answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Internal,
    External,
    Network,
}

impl Side {
    pub(super) const ALL: [Side; 3] = [Side::Internal, Side::External, Side::Network];

    /// Fills are left out: they wait for other people's orders, which is nobody's latency.
    fn has(self, kind: SegmentKind) -> bool {
        match self {
            Side::Internal => kind == SegmentKind::TickToTrade,
            Side::Network => kind == SegmentKind::TcpAck,
            Side::External => matches!(
                kind,
                SegmentKind::Ack | SegmentKind::Reject | SegmentKind::CancelAck | SegmentKind::ReplaceAck
            ),
        }
    }
}

/// The tracks of one session, or of all, and where they were slow.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub session: Option<Arc<str>>,
    tracks: [Track; 3],
    pub slow: [Vec<Stretch>; 3],
}

impl Scope {
    pub(super) fn is_testable(&self) -> bool {
        self.tracks.iter().any(Track::is_testable)
    }

    pub(super) fn compared(&self, side: Side, stretch: &Stretch, is_slow: bool) -> Option<Compared> {
        compared(&self.tracks[side as usize], stretch, &self.slow[side as usize], is_slow)
    }

    /// Whether the side of this session was slow in a stretch; `None` where it has too few values to say.
    fn was_slow(&self, side: Side, stretch: &Stretch) -> Option<bool> {
        let found = self.slow[side as usize].iter().any(|own| own.covers(stretch));
        let compared = self.compared(side, stretch, true)?;
        Some(found || compared.factor_hundredths().is_some_and(|factor| factor >= SLOW_TOO))
    }
}

/// The track of one side, and where it was slow.
fn search<'a>(side: Side, series: impl Iterator<Item = &'a Series>, alpha: f64) -> (Track, Vec<Stretch>) {
    let track = Track::new(series.filter(|one| side.has(one.kind)));
    let all = track.slow(alpha);
    if side != Side::Network {
        return (track, all);
    }
    // Where answers come later, more acknowledgements come without one, and later ones: only those that the fastest
    // tenth shares are the network's.
    let is_real = |stretch: &Stretch| {
        let compared = compared(&track, stretch, &all, false);
        compared.is_some_and(|it| u128::from(it.during_p10_ns) * 2 >= u128::from(it.usual_p10_ns) * 3)
    };
    let real = all.iter().copied().filter(is_real).collect();
    (track, real)
}

/// One side in one of its stretches beside the rest, without the other slow ones.
fn compared(track: &Track, stretch: &Stretch, slow: &[Stretch], is_slow: bool) -> Option<Compared> {
    let (kind, inside, outside) = track.compared(stretch, slow)?;
    let tenth = |sorted: &[u64]| sorted.get(sorted.len() / 10).copied().unwrap_or(0);
    Some(Compared {
        kind,
        usual_p10_ns: tenth(&outside),
        during_p10_ns: tenth(&inside),
        n: inside.len() as u64,
        usual_p50_ns: median(&mut outside.clone()),
        during_p50_ns: median(&mut inside.clone()),
        is_slow,
    })
}

/// All sessions together first, then the busiest of them, where there are several.
pub(super) fn search_all(series: &SeriesSet) -> Vec<Scope> {
    let all: Vec<&Series> = series.iter().collect();
    let own = |name: Option<Arc<str>>| {
        all.iter().copied().filter(move |series| name.as_ref().is_none_or(|name| series.session == *name))
    };
    let is_testable = |name: &Arc<str>| {
        let of_side = |side: Side| own(Some(Arc::clone(name))).filter(move |one| side.has(one.kind));
        Side::ALL.into_iter().any(|side| Track::is_enough(of_side(side)))
    };
    let mut names = vec![None];
    names.extend(sessions(&all).into_iter().filter(is_testable).map(Some));
    let alpha = ALPHA / super::change::to_float(names.len() * Side::ALL.len());
    let searches: Vec<(&Option<Arc<str>>, Side)> =
        names.iter().flat_map(|name| Side::ALL.map(|side| (name, side))).collect();
    let is_large = all.iter().map(|series| series.samples.len()).sum::<usize>() >= WORTH_THREADS;
    let found = on_threads(is_large, &searches, |(name, side)| search(*side, own((*name).clone()), alpha));
    let mut found = found.into_iter();
    let scope = |session: &Option<Arc<str>>| {
        let mut next = || found.next().unwrap_or_default();
        let [(internal, slow_in), (external, slow_out), (network, slow_net)] = [next(), next(), next()];
        let (tracks, slow) = ([internal, external, network], [slow_in, slow_out, slow_net]);
        Scope { session: session.clone(), tracks, slow }
    };
    let mut scopes: Vec<Scope> = names.iter().map(scope).collect();
    if let Some((whole, sessions)) = scopes.split_first_mut() {
        for side in Side::ALL {
            divide(side, whole, sessions);
        }
    }
    scopes
}

/// The same work for each of several, in their order; on all processors where it is `large`.
fn on_threads<T: Sync, R: Send>(is_large: bool, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let some = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        numbers.map_while(|at| Some((at, work(items.get(at)?)))).collect::<Vec<(usize, R)>>()
    };
    let others = if is_large { thread::available_parallelism().map_or(0, |all| all.get() - 1) } else { 0 };
    let mut done = thread::scope(|scope| {
        // Where there is no thread to be had, the others do its work.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, some).ok();
        let others: Vec<_> = (0..others.min(items.len())).filter_map(spawn).collect();
        let mut done = some();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)));
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Names of the busiest sessions, where there are several.
fn sessions(all: &[&Series]) -> Vec<Arc<str>> {
    let mut names: Vec<(&Arc<str>, usize)> = Vec::new();
    for series in all {
        match names.iter_mut().find(|(name, _)| *name == &series.session) {
            Some((_, n)) => *n += series.samples.len(),
            None => names.push((&series.session, series.samples.len())),
        }
    }
    if names.len() < 2 {
        return Vec::new();
    }
    names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    names.into_iter().take(SESSIONS).map(|(name, _)| Arc::clone(name)).collect()
}

/// A stretch of the whole stays where nearly all sessions were slow in it, and is then none of theirs; else it is theirs.
fn divide(side: Side, whole: &mut Scope, sessions: &mut [Scope]) {
    let is_everybodys = |stretch: &Stretch| {
        let told: Vec<bool> = sessions.iter().filter_map(|session| session.was_slow(side, stretch)).collect();
        let slow = told.iter().filter(|slow| **slow).count();
        told.is_empty() || slow * 100 >= told.len() * EVERYBODY
    };
    let kept: Vec<Stretch> = whole.slow[side as usize].iter().copied().filter(is_everybodys).collect();
    for session in sessions.iter_mut() {
        session.slow[side as usize].retain(|own| !kept.iter().any(|stretch| stretch.covers(own)));
    }
    whole.slow[side as usize] = kept;
}

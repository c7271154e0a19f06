//! Colours. A theme says what means what; how it is shown depends on what the terminal can: true colour, 256, 16, or none.
//! No meaning is carried by colour alone: words and marks say it too.

use ratatui::style::{Color, Modifier, Style};

/// What the user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    #[default]
    Dark,
    Light,
    /// Blue and orange, which nearly everybody can tell apart.
    ColourBlind,
    /// No colours, for `NO_COLOR`: bold, faint and reversed only.
    None,
}

impl Theme {
    pub const ALL: [Theme; 4] = [Theme::Dark, Theme::Light, Theme::ColourBlind, Theme::None];

    pub fn name(self) -> &'static str {
        match self {
            Theme::Dark => "dark",
            Theme::Light => "light",
            Theme::ColourBlind => "colour-blind",
            Theme::None => "none",
        }
    }

    pub fn parse(name: &str) -> Option<Theme> {
        Theme::ALL.into_iter().find(|theme| theme.name() == name)
    }

    pub(crate) fn next(self) -> Theme {
        crate::beside(&Theme::ALL, self, 1)
    }
}

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Sixteen,
    Indexed,
    True,
}

impl Depth {
    /// From `COLORTERM` and `TERM`.
    pub(crate) fn of(colorterm: Option<&str>, term: Option<&str>) -> Depth {
        let has = |text: Option<&str>, part: &str| text.is_some_and(|text| text.contains(part));
        if has(colorterm, "truecolor") || has(colorterm, "24bit") {
            Depth::True
        } else if has(term, "256color") || has(term, "kitty") || has(term, "alacritty") {
            Depth::Indexed
        } else {
            Depth::Sixteen
        }
    }
}

/// A colour in each depth.
#[derive(Clone, Copy)]
struct Paint(u32, u8, Color);

/// What is shown in which colour.
#[derive(Clone, Copy)]
struct Palette {
    text: Paint,
    faint: Paint,
    accent: Paint,
    good: Paint,
    warn: Paint,
    bad: Paint,
    internal: Paint,
    external: Paint,
    market: Paint,
    selected: Paint,
    /// From few to many.
    heat: [Paint; 6],
}

const DARK: Palette = Palette {
    text: Paint(0xd7_dce4, 253, Color::Reset),
    faint: Paint(0x6f_7a8b, 243, Color::DarkGray),
    accent: Paint(0xe8_c46a, 221, Color::Yellow),
    good: Paint(0x7f_c98f, 114, Color::Green),
    warn: Paint(0xf0_b060, 215, Color::Yellow),
    bad: Paint(0xf0_6c6c, 203, Color::LightRed),
    internal: Paint(0x5f_c9d8, 80, Color::Cyan),
    external: Paint(0xc9_8cf0, 177, Color::Magenta),
    market: Paint(0x86_a8d8, 110, Color::Blue),
    selected: Paint(0x2c_3648, 237, Color::Blue),
    heat: [
        Paint(0x25_3a57, 24, Color::Blue),
        Paint(0x2f_5f8a, 25, Color::Blue),
        Paint(0x3f_93a8, 37, Color::Cyan),
        Paint(0x7c_c48a, 114, Color::Green),
        Paint(0xe0_cf6a, 221, Color::Yellow),
        Paint(0xf5_8f5a, 209, Color::LightRed),
    ],
};

const LIGHT: Palette = Palette {
    text: Paint(0x1d_2430, 235, Color::Reset),
    faint: Paint(0x7b_8494, 245, Color::DarkGray),
    accent: Paint(0x8a_5a00, 94, Color::Yellow),
    good: Paint(0x1f_7a3a, 28, Color::Green),
    warn: Paint(0xb0_5f00, 130, Color::Yellow),
    bad: Paint(0xb8_2020, 124, Color::Red),
    internal: Paint(0x00_6f86, 24, Color::Cyan),
    external: Paint(0x7a_3fae, 91, Color::Magenta),
    market: Paint(0x2f_5fae, 25, Color::Blue),
    selected: Paint(0xd5_e0f0, 189, Color::Cyan),
    heat: [
        Paint(0xd8_e4f0, 189, Color::Cyan),
        Paint(0xa8_c8e4, 152, Color::Cyan),
        Paint(0x6f_a8d0, 74, Color::Blue),
        Paint(0x3f_7fb8, 67, Color::Blue),
        Paint(0x2f_5090, 25, Color::Magenta),
        Paint(0x8a_1f5f, 89, Color::Red),
    ],
};

/// The colours of Okabe and Ito.
const COLOUR_BLIND: Palette = Palette {
    accent: Paint(0xf0_e442, 227, Color::Yellow),
    good: Paint(0x56_b4e9, 74, Color::LightCyan),
    warn: Paint(0xe6_9f00, 214, Color::Yellow),
    bad: Paint(0xf0_8a3c, 208, Color::LightYellow),
    internal: Paint(0x56_b4e9, 74, Color::Cyan),
    external: Paint(0xe6_9f00, 214, Color::Yellow),
    market: Paint(0xcc_79a7, 175, Color::Magenta),
    heat: [
        Paint(0x1b_2f4f, 17, Color::Blue),
        Paint(0x28_5080, 25, Color::Blue),
        Paint(0x4a_78a8, 67, Color::Cyan),
        Paint(0x9a_a0a0, 247, Color::Gray),
        Paint(0xd8_b860, 179, Color::Yellow),
        Paint(0xff_d040, 220, Color::LightYellow),
    ],
    ..DARK
};

/// The styles that panels use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Styles {
    pub(crate) theme: Theme,
    pub(crate) text: Style,
    pub(crate) faint: Style,
    pub(crate) title: Style,
    pub(crate) key: Style,
    pub(crate) good: Style,
    pub(crate) warn: Style,
    pub(crate) bad: Style,
    pub(crate) internal: Style,
    pub(crate) external: Style,
    pub(crate) market: Style,
    pub(crate) selected: Style,
    heat: [Style; 6],
}

impl Styles {
    pub(crate) fn new(theme: Theme, depth: Depth) -> Styles {
        let palette = match theme {
            Theme::Dark => DARK,
            Theme::Light => LIGHT,
            Theme::ColourBlind => COLOUR_BLIND,
            Theme::None => return Styles::plain(),
        };
        let color = |paint: Paint| match depth {
            Depth::True => Color::from_u32(paint.0),
            Depth::Indexed => Color::Indexed(paint.1),
            Depth::Sixteen => paint.2,
        };
        let style = |paint: Paint| Style::new().fg(color(paint));
        Styles {
            theme,
            text: style(palette.text),
            faint: style(palette.faint),
            title: style(palette.text).add_modifier(Modifier::BOLD),
            key: style(palette.accent),
            good: style(palette.good),
            warn: style(palette.warn),
            bad: style(palette.bad).add_modifier(Modifier::BOLD),
            internal: style(palette.internal),
            external: style(palette.external),
            market: style(palette.market),
            selected: Style::new().bg(color(palette.selected)).add_modifier(Modifier::BOLD),
            heat: palette.heat.map(style),
        }
    }

    fn plain() -> Styles {
        let (none, faint) = (Style::new(), Style::new().add_modifier(Modifier::DIM));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Styles {
            theme: Theme::None,
            text: none,
            faint,
            title: bold,
            key: bold,
            good: none,
            warn: bold,
            bad: bold.add_modifier(Modifier::REVERSED),
            internal: none,
            external: none,
            market: none,
            selected: Style::new().add_modifier(Modifier::REVERSED),
            heat: [none; 6],
        }
    }

    /// Everything grey: what is shown is not of now.
    pub(crate) fn stale(self) -> Styles {
        let faint = self.faint;
        Styles {
            text: faint,
            good: faint,
            warn: faint,
            internal: faint,
            external: faint,
            market: faint,
            heat: [faint; 6],
            ..self
        }
    }

    /// `share` is from 0 (few) to 1 (the most).
    pub(crate) fn heat(&self, share: f64) -> Style {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in six, between 0 and 5")]
        let at = (share.clamp(0.0, 1.0) * 5.0).round() as usize;
        self.heat[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_says_how_many_colours_it_has() {
        assert_eq!(Depth::of(Some("truecolor"), Some("xterm")), Depth::True);
        assert_eq!(Depth::of(None, Some("tmux-256color")), Depth::Indexed);
        assert_eq!(Depth::of(None, Some("vt100")), Depth::Sixteen);
    }

    #[test]
    fn names_are_read_back() {
        for theme in Theme::ALL {
            assert_eq!(Theme::parse(theme.name()), Some(theme));
        }
    }

    #[test]
    fn without_colour_there_is_none() {
        let plain = Styles::new(Theme::None, Depth::True);
        for style in [plain.text, plain.bad, plain.internal, plain.selected, plain.heat(1.0)] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}

//! Colours of what people read: only where they help to find something in a scrolling terminal.

use anstyle::{AnsiColor, Style};

use super::Event;

/// The sentence of an event with its colours. They come first or stand around who speaks, never within words of others.
pub(super) fn paint(event: &Event, sentence: &str) -> String {
    let end = |marks: &str| sentence.find(marks).map_or(0, |at| at + marks.len());
    let (style, painted) = match event {
        Event::Warning { .. } => (bold(AnsiColor::Yellow), end("warning:")),
        Event::Trouble { .. } => (bold(AnsiColor::Yellow), end("trouble:")),
        Event::Chat { teacher: true, .. } => (bold(AnsiColor::Green), end(">")),
        Event::Chat { .. } => (bold(AnsiColor::Cyan), end(">")),
        Event::Hand { raised: true, .. } => (bold(AnsiColor::Magenta), sentence.len()),
        Event::Reaction { .. } => (Style::new().fg_color(Some(AnsiColor::Magenta.into())), sentence.len()),
        Event::Ended { .. } => (Style::new().bold(), sentence.len()),
        _ => return sentence.to_owned(),
    };
    let (painted, rest) = sentence.split_at(painted);
    format!("{style}{painted}{style:#}{rest}")
}

fn bold(colour: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(colour.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mark_of_a_warning_is_painted() {
        let event = Event::Warning { message: "no sound card".into() };
        let sentence = event.sentence().unwrap_or_default();
        assert_eq!(paint(&event, &sentence), "\x1b[1m\x1b[33mwarning:\x1b[0m no sound card");
    }

    #[test]
    fn a_speaker_is_painted_and_the_words_are_not() {
        let user = "1001".parse().unwrap();
        let event = Event::Chat { id: 1, user, nickname: "Anna".into(), teacher: false, text: "a > b".into() };
        let sentence = event.sentence().unwrap_or_default();
        assert!(paint(&event, &sentence).ends_with("\x1b[0m a > b"), "{sentence}");
    }

    #[test]
    fn a_notice_stays_plain() {
        let event = Event::Notice { message: "screen :0".into() };
        assert_eq!(paint(&event, "screen :0"), "screen :0");
    }
}

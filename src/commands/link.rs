//! The link that students open, and its QR code for those who would have to type it on a phone.

use std::fmt::Write;

use qrcode::{Color, EcLevel, QrCode};

use crate::id::RoomId;
use crate::report::Reporter;
use crate::signal::ServerUrl;

/// Light modules around the code. The standard asks for four; cameras are content with two, and a terminal is narrow.
const QUIET_ZONE: usize = 2;

/// The page of a room on a server.
pub(super) fn room_page(server: &ServerUrl, room: &RoomId) -> String {
    format!("http://{}/room/{room}", server.authority())
}

/// Shows the link as a QR code, where a person sits before a terminal that is wide enough, and where the link means
/// something to another machine.
pub(super) fn show_qr(link: &str, server: &ServerUrl, reporter: &Reporter) {
    let is_local =
        server.host() == "localhost" || server.host().parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    let Some(columns) = reporter.columns().filter(|_| !is_local) else { return };
    // Least correction: a screen has no stains, and the code is as small as can be.
    let Ok(code) = QrCode::with_error_correction_level(link, EcLevel::L) else { return };
    let lines = drawn(&code);
    if code.width() + 2 * QUIET_ZONE <= columns {
        reporter.notice(lines);
    }
}

/// The code in half blocks, two modules above each other in one character. Black and white are said outright, as a
/// terminal's own colours may be the other way round; and as numbers of the fixed palette, which no theme changes.
fn drawn(code: &QrCode) -> String {
    let width = code.width();
    let is_dark = |x: usize, y: usize| {
        let (x, y) = (x.wrapping_sub(QUIET_ZONE), y.wrapping_sub(QUIET_ZONE));
        x < width && y < width && code[(x, y)] == Color::Dark
    };
    let side = width + 2 * QUIET_ZONE;
    let mut text = String::new();
    for y in (0..side).step_by(2) {
        // The last half line is no module, and stays light.
        let row = (0..side).map(|x| match (is_dark(x, y), is_dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        let row: String = row.collect();
        let end = if y + 2 < side { "\n" } else { "" };
        _ = write!(text, "\x1b[38;5;16;48;5;231m{row}\x1b[0m{end}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "http://192.168.100.200:18080/room/10013";

    #[test]
    fn a_link_leads_to_the_room() {
        let page = |server: &str| room_page(&server.parse().unwrap(), &"10013".parse().unwrap());
        assert_eq!(page("ws://192.168.100.200"), LINK);
        assert_eq!(page("ws://[fe80::1]:5/ws"), "http://[fe80::1]:5/room/10013");
    }

    #[test]
    fn every_module_is_drawn_with_light_around() {
        let code = QrCode::with_error_correction_level(LINK, EcLevel::L).unwrap();
        let text = drawn(&code);
        let mut modules = Vec::new();
        for line in text.lines() {
            let row = line.strip_prefix("\x1b[38;5;16;48;5;231m").unwrap().strip_suffix("\x1b[0m").unwrap();
            modules.push(row.chars().map(|c| matches!(c, '█' | '▀')).collect::<Vec<bool>>());
            modules.push(row.chars().map(|c| matches!(c, '█' | '▄')).collect());
        }
        let side = code.width() + 2 * QUIET_ZONE;
        assert_eq!((side, modules.len()), (33, 34));
        for (y, row) in modules.iter().enumerate() {
            assert_eq!(row.len(), side);
            for (x, dark) in row.iter().enumerate() {
                let inside = |at: usize| (QUIET_ZONE..QUIET_ZONE + code.width()).contains(&at);
                let expected = inside(x) && inside(y) && code[(x - QUIET_ZONE, y - QUIET_ZONE)] == Color::Dark;
                assert_eq!(*dark, expected, "at {x}, {y}");
            }
        }
    }
}

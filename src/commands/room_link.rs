//! The link that students open, and its QR code for students with a phone.

use std::net::{IpAddr, SocketAddr};

use qrcode::{Color, EcLevel, QrCode};

use crate::id::RoomId;
use crate::report::Reporter;
use crate::signal::ServerUrl;

/// The light modules around a QR code. The standard requires four, but cameras read two, and a terminal is narrow.
const QUIET_ZONE: usize = 2;

/// The URL of a room's page.
pub(super) fn room_page(server: &ServerUrl, room: &RoomId) -> String {
    format!("{}/room/{room}", server.origin())
}

/// The maximum number of further addresses. More would only confuse.
const MAX_OTHERS: usize = 6;

/// The further addresses of a server that listens on all interfaces, each with the name of its interface. A computer
/// with Wi-Fi and a cable is in two networks, and students may be in either. Loopback and link-local addresses are left
/// out, because they are useless on other computers.
pub(super) fn other_hosts(listens: SocketAddr, shown: &str) -> Vec<(IpAddr, String)> {
    if !listens.ip().is_unspecified() {
        return Vec::new();
    }
    reachable(&if_addrs::get_if_addrs().unwrap_or_default(), listens.is_ipv6(), shown)
}

fn reachable(interfaces: &[if_addrs::Interface], with_ipv6: bool, shown: &str) -> Vec<(IpAddr, String)> {
    let others = interfaces.iter().filter(|interface| match interface.ip() {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && ip.to_string() != shown,
        IpAddr::V6(ip) => with_ipv6 && !ip.is_loopback() && !ip.is_unicast_link_local() && ip.to_string() != shown,
    });
    others.map(|interface| (interface.ip(), interface.name.clone())).take(MAX_OTHERS).collect()
}

/// Shows the link as a QR code if the terminal is wide enough and other computers can reach the server.
pub(super) fn show_qr(link: &str, server: &ServerUrl, reporter: &Reporter) {
    let is_local = server.host() == "localhost" || server.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let Some(columns) = reporter.columns().filter(|_| !is_local) else { return };
    // The lowest error correction gives the smallest code. A screen has no dirt to correct.
    let Ok(code) = QrCode::with_error_correction_level(link, EcLevel::L) else { return };
    let lines = if reporter.has_colours() { drawn(&code) } else { drawn_without_colours(&code) };
    if code.width() + 2 * QUIET_ZONE <= columns {
        reporter.notice(lines);
    }
}

/// Black on white in the fixed part of the 256-colour palette, which no terminal theme changes.
const BLACK_ON_WHITE: (&str, &str) = ("\x1b[38;5;16;48;5;231m", "\x1b[0m");

/// Draws the code in half blocks, two modules in one character, in explicit black and white, because a terminal's own
/// colours may be inverted.
fn drawn(code: &QrCode) -> String {
    let rows: Vec<String> =
        half_blocks(code, true).iter().map(|row| format!("{}{row}{}", BLACK_ON_WHITE.0, BLACK_ON_WHITE.1)).collect();
    rows.join("\n")
}

/// Draws the light modules, for a terminal without colours. Most terminals are light on dark.
fn drawn_without_colours(code: &QrCode) -> String {
    half_blocks(code, false).join("\n")
}

/// One string per row. `draws_dark` chooses which modules are blocks; the others stay background.
fn half_blocks(code: &QrCode, draws_dark: bool) -> Vec<String> {
    let width = code.width();
    let side = width + 2 * QUIET_ZONE;
    let is_block = |x: usize, y: usize| {
        let (column, row) = (x.wrapping_sub(QUIET_ZONE), y.wrapping_sub(QUIET_ZONE));
        let is_dark = column < width && row < width && code[(column, row)] == Color::Dark;
        // The lower half of the last row has no modules.
        y < side && is_dark == draws_dark
    };
    let row = |y: usize| {
        let block = |x: usize| match (is_block(x, y), is_block(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (0..side).map(block).collect()
    };
    (0..side).step_by(2).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "http://192.168.100.200:18080/room/10013";

    #[test]
    fn a_link_opens_the_page_of_the_room() {
        let page = |server: &str| room_page(&server.parse().unwrap(), &"10013".parse().unwrap());
        assert_eq!(page("ws://192.168.100.200"), LINK);
        assert_eq!(page("ws://[fe80::1]:5/ws"), "http://[fe80::1]:5/room/10013");
        assert_eq!(page("wss://school.example:5"), "https://school.example:5/room/10013");
    }

    #[test]
    fn every_module_is_drawn_within_a_light_zone() {
        let code = QrCode::with_error_correction_level(LINK, EcLevel::L).unwrap();
        let mut modules = Vec::new();
        for line in drawn(&code).lines() {
            let row = line.strip_prefix(BLACK_ON_WHITE.0).unwrap().strip_suffix(BLACK_ON_WHITE.1).unwrap();
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

    #[test]
    fn without_colours_the_light_modules_are_drawn() {
        let code = QrCode::with_error_correction_level(LINK, EcLevel::L).unwrap();
        let text = drawn_without_colours(&code);
        assert!(!text.contains('\x1b'));
        let first = text.lines().next().unwrap();
        assert!(first.chars().all(|c| c == '█'), "the quiet zone is light: {first}");
        assert_eq!(text.lines().nth(1).unwrap().chars().nth(QUIET_ZONE), Some(' '), "the corner of the finder is dark");
    }

    #[test]
    fn only_addresses_that_other_computers_can_reach_are_shown() {
        let interface = |name: &str, ip: &str| if_addrs::Interface {
            name: name.into(),
            addr: match ip.parse().unwrap() {
                IpAddr::V4(ip) => {
                    let netmask = "255.255.255.0".parse().unwrap();
                    if_addrs::IfAddr::V4(if_addrs::Ifv4Addr { ip, netmask, prefixlen: 24, broadcast: None })
                }
                IpAddr::V6(ip) => {
                    let netmask = "ffff:ffff:ffff:ffff::".parse().unwrap();
                    if_addrs::IfAddr::V6(if_addrs::Ifv6Addr { ip, netmask, prefixlen: 64, broadcast: None })
                }
            },
            index: None,
            oper_status: if_addrs::IfOperStatus::Up,
            is_p2p: false,
        };
        let all = [
            ("lo", "127.0.0.1"),
            ("eth0", "10.0.3.7"),
            ("wlan0", "192.168.1.5"),
            ("wlan0", "fe80::1"),
            ("wlan0", "2001:db8::5"),
        ]
        .map(|(name, ip)| interface(name, ip));
        let shown = |with_ipv6| {
            reachable(&all, with_ipv6, "10.0.3.7").iter().map(|(ip, name)| format!("{ip} {name}")).collect::<Vec<_>>()
        };
        assert_eq!(shown(false), ["192.168.1.5 wlan0"]);
        assert_eq!(shown(true), ["192.168.1.5 wlan0", "2001:db8::5 wlan0"]);
    }
}

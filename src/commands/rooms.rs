//! `classroom rooms`: lists the rooms of a server.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::trust::ClientTrust;
use crate::cli::Rooms;
use crate::exit::Failure;
use crate::http::client::{self, Address, ClientError};
use crate::protocol::{DEFAULT_PORT, MediaHost, RoomKind};
use crate::report::{Reporter, cut};
use crate::room::{RoomState, RoomSummary};
use crate::signal::{ServerUrl, discover};
use crate::tls::Trust;

/// How long to wait for a server on this computer.
const HERE_WITHIN: Duration = Duration::from_millis(200);

/// How long to search the LAN. A second is usually enough, but Wi-Fi in power-save mode is slow.
const DISCOVER_FOR: Duration = Duration::from_millis(2500);

/// Prints all rooms of the server.
pub(super) async fn run(rooms: Rooms, reporter: &Reporter) -> Result<(), Failure> {
    let trust = ClientTrust::new(&rooms.trust)?;
    let (server, trust) = find_server(rooms.server, &trust, reporter).await;
    let trust = Some(trust).filter(|_| server.uses_tls());
    let list = client::rooms(&Address::new(server.host(), server.port(), trust)).await.map_err(|error| {
        let advice = match error {
            ClientError::Tls { .. } => "",
            _ => "; start a server with `classroom teach` or `classroom serve`, or name one with --server",
        };
        Failure::unreachable(anyhow::anyhow!("can't get the rooms of {server}: {error}{advice}"))
    })?;
    if reporter.is_json() {
        list.iter().for_each(|room| reporter.result_object(room));
    } else {
        reporter.result(&table(&list, &server.to_string()));
    }
    Ok(())
}

/// The server of `--server`, or the server on this computer, or a server that DNS-SD finds.
async fn find_server(named: Option<ServerUrl>, trust: &ClientTrust, reporter: &Reporter) -> (ServerUrl, Trust) {
    if let Some(url) = named {
        let trusted = trust.of_named(&url);
        return (url, trusted);
    }
    let local = ServerUrl::new("127.0.0.1", DEFAULT_PORT);
    let here = tokio::net::TcpStream::connect((local.host(), local.port()));
    let nothing = trust.of_named(&local);
    if let Ok(Ok(_)) = tokio::time::timeout(HERE_WITHIN, here).await {
        return (local, nothing);
    }
    let found = match discover(None, None, DISCOVER_FOR).await {
        Ok(found) => found,
        Err(error) => {
            reporter.detail(format!("DNS-SD is not available: {error}"));
            return (local, nothing);
        }
    };
    for found in found {
        match trust.of_found(&found) {
            Ok(trusted) => {
                let identity = found.identity.map(|identity| format!(", identity {identity}")).unwrap_or_default();
                reporter.notice(format!("found {} by DNS-SD{identity}", found.url));
                return (found.url, trusted);
            }
            Err(refusal) => reporter.warn(refusal),
        }
    }
    (local, nothing)
}

fn table(rooms: &[RoomSummary], server: &str) -> String {
    if rooms.is_empty() {
        return format!("there are no rooms at {server}");
    }
    let heads = ["room", "kind", "state", "name", "teacher", "media", "in", "since"];
    let mut lines = vec![line(heads.map(str::to_owned))];
    for room in rooms {
        let (state, since) = match room.state {
            RoomState::Live => ("live", room.live_s),
            RoomState::Waiting => ("waiting", None),
            RoomState::Ended => ("ended", room.ended_s),
        };
        let host = room.publisher.as_ref().or(room.owner.as_ref());
        let host = host.map_or("-".to_owned(), |user| match user.nickname.as_str() {
            "" => user.user_id.to_string(),
            name if name == user.user_id.as_str() => name.to_owned(),
            name => format!("{name} ({})", user.user_id),
        });
        let name = room.name.as_ref().map_or("-".to_owned(), ToString::to_string);
        let since = since.unwrap_or(room.open_s);
        let since = format!("{}:{:02}:{:02}", since / 3600, since / 60 % 60, since % 60);
        let media = match room.media {
            Some(MediaHost::Server) => "server",
            Some(MediaHost::Publisher) if room.kind == RoomKind::Lecture => "teacher",
            Some(MediaHost::Publisher) => "pairs",
            None => "-",
        };
        let count = match room.kind {
            RoomKind::Lecture if room.speakers == 0 => room.watching.to_string(),
            RoomKind::Lecture => format!("{}/{}", room.speakers, room.watching),
            _ => format!("{}/{}", room.participants, room.watching),
        };
        let (id, kind) = (room.room_id.to_string(), room.kind.name().to_owned());
        lines.push(line([id, kind, state.into(), name, host, media.into(), count, since]));
        if !room.breakouts.is_empty() {
            let inside: Vec<String> = room.breakouts.iter().map(usize::to_string).collect();
            lines.push(format!("         {} breakout rooms, in them: {}", inside.len(), inside.join(", ")));
        }
    }
    lines.join("\n")
}

/// A row of 84 columns. An unusually long room id makes it wider, because people copy the id.
fn line([room, kind, state, name, host, media, count, since]: [String; 8]) -> String {
    let (name, host) = (cell(&name, 16), cell(&host, 16));
    format!("{room:<8} {kind:<7} {state:<7} {name} {host} {media:<7} {count:>6}  {since}")
}

/// A text padded or cut to `columns`.
fn cell(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let space = columns.saturating_sub(text.width());
    text + &" ".repeat(space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: &str, name: Option<&str>, state: RoomState) -> RoomSummary {
        RoomSummary {
            room_id: id.parse().unwrap(),
            name: name.map(|name| name.parse().unwrap()),
            kind: RoomKind::Lecture,
            owner: None,
            participants: 0,
            breakouts: Vec::new(),
            publisher: None,
            media: None,
            watching: 30,
            speakers: 2,
            state,
            open_s: 3_700,
            live_s: None,
            ended_s: (state == RoomState::Ended).then_some(65),
            has_code: false,
            has_lobby: false,
            is_locked: false,
        }
    }

    #[test]
    fn names_and_states_stand_in_columns() {
        let rooms = [
            room("10013", Some("Linear algebra"), RoomState::Ended),
            room("48213", Some("线性代数"), RoomState::Waiting),
            room("7", None, RoomState::Waiting),
        ];
        let table = table(&rooms, "ws://a");
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "10013    lecture ended   Linear algebra   -                -         2/30  0:01:05");
        assert!(lines[2].contains(" waiting 线性代数 ") && lines[2].ends_with("30  1:01:40"), "{table}");
        let (kind, participants, media) = (RoomKind::Meeting, 3, Some(MediaHost::Publisher));
        let meeting = RoomSummary { kind, participants, media, ..room("20014", None, RoomState::Live) };
        let line = super::table(&[meeting], "ws://a").lines().nth(1).unwrap().to_owned();
        assert!(line.contains(" meeting live ") && line.contains(" pairs     3/30 "), "{line}");
        assert!(lines[1..].iter().all(|line| line.width() == lines[1].width()), "{table}");
    }

    #[test]
    fn a_cell_is_padded_or_cut_to_its_width() {
        assert_eq!(cell("Linear algebra", 8), "Linear …");
        assert_eq!(cell("线性代数", 6), "线性… ");
        assert_eq!(cell("线性代数", 8), "线性代数");
    }
}

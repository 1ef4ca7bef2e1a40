//! `classroom rooms`: who teaches where, how many watch.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::Rooms;
use crate::exit::{Exit, Failure};
use crate::http::client;
use crate::protocol::DEFAULT_PORT;
use crate::report::Reporter;
use crate::room::{RoomState, RoomSummary};
use crate::signal::{ServerUrl, discover};

/// How soon a server on this computer answers.
const HERE_WITHIN: Duration = Duration::from_millis(200);

/// A teacher in the same network is found within a second; more covers a sleepy Wi-Fi.
const DISCOVER_FOR: Duration = Duration::from_millis(2500);

/// Prints every room of the server.
pub(super) async fn run(rooms: Rooms, reporter: &Reporter) -> Result<(), Failure> {
    let server = find_server(rooms.server, reporter).await;
    let list = client::rooms(server.host(), server.port()).await.map_err(|error| {
        let error =
            anyhow::anyhow!("no list from {server}: {error}; start a server with `classroom teach` or `classroom serve`, or name one with --server");
        Failure::new(Exit::ServerUnreachable, error)
    })?;
    if reporter.is_json() {
        list.iter().for_each(|room| reporter.result_object(room));
    } else {
        reporter.result(&table(&list, &server.to_string()));
    }
    Ok(())
}

/// The server that was named, else the one on this computer, else one that DNS-SD finds.
async fn find_server(named: Option<ServerUrl>, reporter: &Reporter) -> ServerUrl {
    if let Some(url) = named {
        return url;
    }
    let local = ServerUrl::new("127.0.0.1", DEFAULT_PORT);
    let here = tokio::net::TcpStream::connect((local.host(), local.port()));
    if let Ok(Ok(_)) = tokio::time::timeout(HERE_WITHIN, here).await {
        return local;
    }
    match discover(None, DISCOVER_FOR).await {
        Ok(found) => match found.into_iter().next() {
            Some(found) => {
                reporter.notice(format!("found {} by DNS-SD", found.url));
                found.url
            }
            None => local,
        },
        Err(error) => {
            reporter.detail(format!("DNS-SD is not available: {error}"));
            local
        }
    }
}

fn table(rooms: &[RoomSummary], server: &str) -> String {
    if rooms.is_empty() {
        return format!("nobody is in a room at {server}");
    }
    let mut lines = vec![line(["room", "state", "name", "teacher", "students", "since"].map(str::to_owned))];
    for room in rooms {
        let (state, since) = match room.state {
            RoomState::Live => ("live", room.live_s),
            RoomState::Waiting => ("waiting", None),
            RoomState::Ended => ("ended", room.ended_s),
        };
        let teacher = room.publisher.as_ref().map_or("-".to_owned(), |user| match user.nickname.as_str() {
            "" => user.user_id.to_string(),
            name if name == user.user_id.as_str() => name.to_owned(),
            name => format!("{name} ({})", user.user_id),
        });
        let name = room.name.as_ref().map_or("-".to_owned(), ToString::to_string);
        let since = since.unwrap_or(room.open_s);
        let since = format!("{}:{:02}:{:02}", since / 3600, since / 60 % 60, since % 60);
        lines.push(line([room.room_id.to_string(), state.into(), name, teacher, room.watching.to_string(), since]));
    }
    lines.join("\n")
}

/// As wide as a terminal of 80 columns; only an id that is longer than usual makes it wider, as people copy it.
fn line([room, state, name, teacher, students, since]: [String; 6]) -> String {
    let (name, teacher) = (cell(&name, 22), cell(&teacher, 20));
    format!("{room:<8} {state:<8} {name} {teacher} {students:>8}  {since}")
}

/// A text in so many columns; a Chinese character takes two, and one that is too long ends with `…`.
fn cell(text: &str, columns: usize) -> String {
    let mut cell = String::new();
    if text.width() <= columns {
        cell.push_str(text);
    } else {
        let mut left = columns - 1;
        let fits = |c: &char| {
            let width = c.width().unwrap_or(0);
            let fits = width <= left;
            left = left.saturating_sub(width);
            fits
        };
        cell.extend(text.chars().take_while(fits));
        cell.push('…');
    }
    let space = columns.saturating_sub(cell.width());
    cell + &" ".repeat(space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: &str, name: Option<&str>, state: RoomState) -> RoomSummary {
        RoomSummary {
            room_id: id.parse().unwrap(),
            name: name.map(|name| name.parse().unwrap()),
            publisher: None,
            watching: 30,
            state,
            open_s: 3_700,
            live_s: None,
            ended_s: (state == RoomState::Ended).then_some(65),
        }
    }

    #[test]
    fn a_list_tells_names_and_states_in_columns() {
        let rooms = [
            room("10013", Some("Linear algebra"), RoomState::Ended),
            room("48213", Some("线性代数"), RoomState::Waiting),
            room("7", None, RoomState::Waiting),
        ];
        let table = table(&rooms, "ws://a");
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "10013    ended    Linear algebra         -                          30  0:01:05");
        assert!(lines[2].contains(" waiting  线性代数 ") && lines[2].ends_with("30  1:01:40"), "{table}");
        assert!(lines[1..].iter().all(|line| line.width() == lines[1].width()), "{table}");
    }

    #[test]
    fn what_is_too_long_for_its_column_is_cut() {
        assert_eq!(cell("Linear algebra", 8), "Linear …");
        assert_eq!(cell("线性代数", 6), "线性… ");
        assert_eq!(cell("线性代数", 8), "线性代数");
    }
}

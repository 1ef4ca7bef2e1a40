//! `classroom rooms`: who teaches where, how many watch.

use super::find_server;
use crate::cli::Rooms;
use crate::exit::{Exit, Failure};
use crate::http::client;
use crate::report::Reporter;
use crate::room::{RoomState, RoomSummary};

/// Prints every room of the server.
pub(super) async fn run(rooms: Rooms, reporter: &Reporter) -> Result<(), Failure> {
    let server = find_server(rooms.server, None, reporter).await;
    let list = client::rooms(server.host(), server.port()).await.map_err(|error| {
        let error =
            anyhow::anyhow!("no list from {server}: {error}; start one with `classroom teach` or `classroom serve`, or name it with --server");
        Failure::new(Exit::ServerUnreachable, error)
    })?;
    if reporter.is_json() {
        list.iter().for_each(|room| reporter.result_object(room));
    } else {
        reporter.result(&table(&list, &server.to_string()));
    }
    Ok(())
}

fn table(rooms: &[RoomSummary], server: &str) -> String {
    if rooms.is_empty() {
        return format!("nobody is in a room at {server}");
    }
    let mut lines = vec![format!("{:<16} {:<8} {:<24} {:>8}  {}", "room", "state", "teacher", "students", "since")];
    for room in rooms {
        let state = match room.state {
            RoomState::Live => "live",
            RoomState::Waiting => "waiting",
        };
        let teacher = room.publisher.as_ref().map_or("-".to_owned(), |user| match user.nickname.as_str() {
            "" => user.user_id.to_string(),
            name if name == user.user_id.as_str() => name.to_owned(),
            name => format!("{name} ({})", user.user_id),
        });
        let since = room.live_s.unwrap_or(room.open_s);
        let since = format!("{}:{:02}:{:02}", since / 3600, since / 60 % 60, since % 60);
        lines.push(format!("{:<16} {state:<8} {teacher:<24} {:>8}  {since}", room.room_id, room.watching));
    }
    lines.join("\n")
}

//! The pages' HTML: plain, readable without styles, by screen readers, and in a text browser.

use std::fmt::Write;

use crate::id::RoomId;
use crate::protocol::User;
use crate::room::{RoomState, RoomSummary};

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}\
    table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem .4rem 0;\
    border-bottom:1px solid #8886}code{background:#8882;padding:.15rem .3rem;overflow-wrap:anywhere}\
    :root{color-scheme:light dark}";

/// Every room.
pub(super) fn index(rooms: &[RoomSummary], host: &str) -> String {
    let mut body = String::from("<h1>Rooms</h1>\n");
    if rooms.is_empty() {
        body.push_str("<p>Nobody is here yet. To teach, type:</p>\n");
        _ = writeln!(body, "<p><code>classroom teach --room 10013 --server ws://{}</code></p>", escaped(host));
    } else {
        body.push_str(
            "<table>\n<caption>Who teaches where</caption>\n<thead><tr><th scope=\"col\">Room</th>\
             <th scope=\"col\">State</th><th scope=\"col\">Teacher</th><th scope=\"col\">Watching</th>\
             <th scope=\"col\">Since</th></tr></thead>\n<tbody>\n",
        );
        for room in rooms {
            _ = writeln!(
                body,
                "<tr><th scope=\"row\"><a href=\"/room/{id}\">{id}</a></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                state(room),
                room.publisher.as_ref().map_or_else(|| "nobody yet".into(), teacher),
                room.watching,
                since(room),
                id = escaped(room.room_id.as_str()),
            );
        }
        body.push_str("</tbody>\n</table>\n<p>To watch, type:</p>\n");
        body.push_str(&watch_command("ROOM", host));
    }
    body.push_str(NO_BROWSER_YET);
    document("Rooms", &body)
}

/// One room, which may not be there yet.
pub(super) fn room(id: &RoomId, summary: Option<&RoomSummary>, host: &str) -> String {
    let name = escaped(id.as_str());
    let mut body = format!("<p><a href=\"/\">All rooms</a></p>\n<h1>Room {name}</h1>\n");
    match summary {
        Some(room) => {
            _ = writeln!(
                body,
                "<dl>\n<dt>State</dt><dd>{}</dd>\n<dt>Teacher</dt><dd>{}</dd>\n<dt>Watching</dt><dd>{}</dd>\n\
                 <dt>Since</dt><dd>{}</dd>\n</dl>",
                state(room),
                room.publisher.as_ref().map_or_else(|| "nobody yet".into(), teacher),
                room.watching,
                since(room),
            );
        }
        None => body.push_str("<p>Nobody is here yet. You may come first and wait for the teacher.</p>\n"),
    }
    body.push_str("<p>To watch, type:</p>\n");
    body.push_str(&watch_command(id.as_str(), host));
    body.push_str(NO_BROWSER_YET);
    document(&format!("Room {}", id.as_str()), &body)
}

/// No such page.
pub(super) fn not_found() -> String {
    document("Not found", "<h1>Not found</h1>\n<p>There is no such page. <a href=\"/\">All rooms</a></p>\n")
}

const NO_BROWSER_YET: &str = "<p>Watching in the browser is not possible yet.</p>\n";

fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{} - classroom</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(title)
    )
}

fn watch_command(room: &str, host: &str) -> String {
    format!("<p><code>classroom watch --room {} --user YOU --server ws://{}</code></p>\n", escaped(room), escaped(host))
}

fn state(room: &RoomSummary) -> &'static str {
    match room.state {
        RoomState::Live => "live",
        RoomState::Waiting => "waiting for the teacher",
        RoomState::Ended => "ended",
    }
}

fn teacher(user: &User) -> String {
    let id = escaped(user.user_id.as_str());
    match user.nickname.as_str() {
        "" => id,
        nickname => format!("<bdi>{}</bdi> ({id})", escaped(nickname)),
    }
}

/// For how long it has been what it is.
fn since(room: &RoomSummary) -> String {
    match room.live_s.unwrap_or(room.open_s) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3_600 => format!("{} min", s / 60),
        s => format!("{} h {} min", s / 3_600, s / 60 % 60),
    }
}

/// Text as text, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> RoomSummary {
        RoomSummary {
            room_id: "10013".parse().unwrap(),
            name: None,
            publisher: Some(User {
                user_id: "9999".parse().unwrap(),
                nickname: "<script>alert('&\")</script>".into(),
                publishes: true,
                epoch: 0,
            }),
            watching: 30,
            state: RoomState::Live,
            open_s: 9_000,
            live_s: Some(3_900),
            ended_s: None,
        }
    }

    #[test]
    fn a_page_shows_the_room_and_runs_nobodys_script() {
        for page in [index(&[summary()], "lab:18080"), room(&summary().room_id, Some(&summary()), "lab:18080")] {
            assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;)"), "{page}");
            assert!(!page.contains("<script"), "{page}");
            for text in ["10013", "9999", "30", "live", "1 h 5 min", "--server ws://lab:18080", "not possible yet"] {
                assert!(page.contains(text), "{text} is not in {page}");
            }
        }
    }

    #[test]
    fn an_empty_server_says_how_to_begin() {
        assert!(index(&[], "lab:18080").contains("classroom teach --room 10013 --server ws://lab:18080"));
        assert!(room(&"7".parse().unwrap(), None, "x").contains("classroom watch --room 7 --user YOU"));
    }
}

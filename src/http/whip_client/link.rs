//! The STUN and TURN servers in the `Link` headers of an answer (RFC 9725, 4.6; RFC 8288).

use hyper::HeaderMap;
use hyper::header::LINK;

use crate::sdp::ice::IceServer;

/// The most servers, and the most bytes of a URL, a user name or a password.
const MAX_SERVERS: usize = 4;
const MAX_BYTES: usize = 512;

/// The servers, without those that need TLS, which the library lacks, and without malformed ones.
pub(super) fn ice_servers(headers: &HeaderMap) -> Vec<IceServer> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| split(value, ',')).filter_map(ice_server).take(MAX_SERVERS).collect()
}

/// `<turn:a:3478?transport=udp>; rel="ice-server"; username="me"; credential="secret"; credential-type="password"`.
fn ice_server(link: &str) -> Option<IceServer> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let mut server = IceServer { url: url.trim().to_owned(), ..IceServer::default() };
    let mut is_ice_server = false;
    for parameter in split(parameters, ';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "rel" => is_ice_server = value.split(' ').any(|rel| rel.eq_ignore_ascii_case("ice-server")),
            "username" => server.username = value,
            "credential" => server.credential = value,
            _ => {}
        }
    }
    let is_supported = ["stun:", "turn:"].iter().any(|scheme| server.url.starts_with(scheme));
    let is_short = [&server.url, &server.username, &server.credential].iter().all(|text| text.len() <= MAX_BYTES);
    (is_ice_server && is_supported && is_short).then_some(server)
}

/// The parts between separators outside of quoted strings and of `<>`.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped, mut is_url) = (false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' if !is_url => is_quoted = !is_quoted,
            '<' if !is_quoted => is_url = true,
            '>' if !is_quoted => is_url = false,
            c if c == separator && !is_quoted && !is_url => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A token, or the text of a quoted-string (RFC 9110, 5.6.4).
fn unquoted(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Vec<IceServer> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, HeaderValue::from_str(value).unwrap());
        }
        ice_servers(&headers)
    }

    fn server(url: &str, username: &str, credential: &str) -> IceServer {
        IceServer { url: url.to_owned(), username: username.to_owned(), credential: credential.to_owned() }
    }

    #[test]
    fn servers_are_read_in_one_header_or_in_several() {
        let stun = r#"<stun:a:3478>; rel="ice-server""#;
        let turn = r#"<turn:a:3478?transport=udp>; rel=ice-server; username="me, you;"; credential="p\"\\w""#;
        let both = [server("stun:a:3478", "", ""), server("turn:a:3478?transport=udp", "me, you;", "p\"\\w")];
        assert_eq!(read(&[stun, turn]), both);
        assert_eq!(read(&[&format!("{stun}, {turn}; credential-type=\"password\"")]), both);
    }

    #[test]
    fn what_is_no_server_is_left_out() {
        let long = format!("<stun:{}>; rel=\"ice-server\"", "x".repeat(600));
        let strange = ["", "<", "stun:a; rel=ice-server", "<stun:a>", "<stun:a>; rel=next", &long, "<stun:a>; rel=\"x"];
        assert_eq!(read(&strange), []);
        assert_eq!(read(&["<turns:a:443>; rel=ice-server", "<http://a>; rel=ice-server"]), []);
        let many = vec!["<stun:a:1>; rel=ice-server"; 50];
        assert_eq!(read(&many).len(), MAX_SERVERS);
    }
}

//! The client of a reverse proxy, by the header that the proxy adds.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The last address of `X-Forwarded-For`, or without that header the last `for` of `Forwarded` (RFC 7239). A proxy
/// appends its client; what comes before was sent by that client, and proves nothing.
pub(super) fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last =
        |name: &HeaderName| headers.get_all(name).iter().next_back().map(|value| value.to_str().unwrap_or_default());
    if let Some(list) = last(&X_FORWARDED_FOR) {
        return address(list.rsplit(',').next()?);
    }
    let element = last(&header::FORWARDED)?.rsplit(',').next()?;
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).find_map(|(_, node)| address(node))
}

/// An address, with or without a port, brackets and quotes.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let bare = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(node);
    bare.parse().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Option<String> {
        let pairs = headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| _ = map.append(name, value));
        forwarded_for(&map).map(|ip| ip.to_string())
    }

    #[test]
    fn the_entry_that_the_proxy_added_counts() {
        let xff = |value| of(&[("x-forwarded-for", value)]);
        assert_eq!(xff("203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(xff("127.0.0.1, 203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(xff("2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(xff("[2001:db8::1]:4711").as_deref(), Some("2001:db8::1"));
        assert_eq!(xff("203.0.113.9:4711").as_deref(), Some("203.0.113.9"));
        assert_eq!((xff("unknown"), xff(""), xff("203.0.113.9,")), (None, None, None));
        let two = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(of(&two).as_deref(), Some("10.0.0.2"));
        let rfc = of(&[("forwarded", "for=10.0.0.1, For=\"[2001:db8::2]:47\";proto=https;by=10.0.0.3")]);
        assert_eq!(rfc.as_deref(), Some("2001:db8::2"));
        assert_eq!(of(&[("forwarded", "for=_hidden")]), None);
        let both = [("forwarded", "for=10.0.0.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(of(&both).as_deref(), Some("10.0.0.2"));
    }
}

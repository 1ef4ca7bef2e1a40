//! Whose pages may speak to a server.

/// Whether a browser's page comes from this server, by the request's `Origin` and `Host`. A browser sends requests for
/// any site that somebody looks at, and such a site could otherwise join or create rooms in a network that it can't
/// reach itself. Programs send no `Origin`.
pub fn is_same_origin(origin: Option<&str>, host: &str) -> bool {
    let Some(origin) = origin else { return true };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_is_told_from_our_own() {
        assert!(is_same_origin(None, "lab:18080"));
        assert!(is_same_origin(Some("http://Lab:18080"), "lab:18080"));
        for origin in ["http://evil.example", "http://lab:18081", "lab:18080", "null", ""] {
            assert!(!is_same_origin(Some(origin), "lab:18080"), "{origin}");
        }
    }
}

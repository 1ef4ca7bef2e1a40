//! People by their ids or names, as commands name them. Pure.

use crate::id::{UserId, named};

/// The most names in a sentence that lists people.
const MAX_NAMED: usize = 40;

/// The user with this id, or the only one with this nickname, in any case. The error is a sentence.
pub(super) fn find<'a>(people: impl IntoIterator<Item = (&'a UserId, &'a str)>, text: &str) -> Result<UserId, String> {
    let wanted = text.to_lowercase();
    let mut called = Vec::new();
    for (user, nickname) in people {
        if user.as_str() == text {
            return Ok(user.clone());
        }
        if nickname.to_lowercase() == wanted {
            called.push(user);
        }
    }
    match called.as_slice() {
        [] => Err(nobody(text)),
        [user] => Ok((*user).clone()),
        several => {
            let ids: Vec<&str> = several.iter().map(|user| user.as_str()).collect();
            Err(format!("{} people are called {text}, give an id: {}", ids.len(), ids.join(", ")))
        }
    }
}

/// The sentence about somebody who is not there.
pub(super) fn nobody(text: &str) -> String {
    format!("nobody here has the id or the name {text}")
}

/// The first names of `count` people.
pub(super) fn listed<'a>(people: impl IntoIterator<Item = (&'a UserId, &'a str)>, count: usize) -> String {
    let names: Vec<String> =
        people.into_iter().take(MAX_NAMED).map(|(user, nickname)| named(user, nickname).to_string()).collect();
    let more = count - names.len().min(count);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names}, and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_found_by_id_or_by_a_name_that_only_one_has() {
        let ids: Vec<UserId> = ["1001", "1002", "1003"].iter().map(|id| id.parse().unwrap()).collect();
        let people = || ids.iter().zip(["Anna", "Ben", "Ben"]);
        assert_eq!(find(people(), "1003"), Ok(ids[2].clone()));
        assert_eq!(find(people(), "anna"), Ok(ids[0].clone()));
        assert_eq!(find(people(), "Ben").unwrap_err(), "2 people are called Ben, give an id: 1002, 1003");
        assert_eq!(find(people(), "Cleo").unwrap_err(), "nobody here has the id or the name Cleo");
        assert_eq!(listed(people(), 5), "Anna (1001), Ben (1002), Ben (1003), and 2 more");
    }
}

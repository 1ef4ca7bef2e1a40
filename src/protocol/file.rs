//! Files that participants send to each other. [`conference`](super::conference) has the messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::to_json;
use crate::id::{Nickname, UserId, printable};

/// The label of a data channel that carries the bytes of one file. Its `protocol` is the id of the file.
pub const FILE_CHANNEL_LABEL: &str = "file";

/// The largest file from participant to participant, in bytes: the receiving browser keeps the file until it is saved.
pub const MAX_PAIR_FILE_BYTES: u64 = 100_000_000;

/// The largest file of a meeting whose media the server carries, in bytes: the server keeps the file in memory.
pub const MAX_SERVER_FILE_BYTES: u64 = 10_000_000;

/// The bytes that one request brings to the server, except for the last one of a file. A line of 128 kbit/s carries
/// them in 16 s, well within the time of a request.
pub const FILE_PART_BYTES: u64 = 256 * 1024;

/// The longest name of a file, in characters.
pub const MAX_FILE_NAME_CHARS: usize = 120;

/// The most characters of an ending, such as `.pdf`, that stay when a name is cut.
const MAX_ENDING_CHARS: usize = 16;

/// The longest media type, in bytes.
const MAX_MIME_BYTES: usize = 100;

/// The longest id of a file between participants, in bytes.
const MAX_PAIR_FILE_ID_BYTES: usize = 32;

/// A file at the server, unique in its room. A server that was restarted uses other numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub u32);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a file: not empty, printable, at most [`MAX_FILE_NAME_CHARS`] characters, and no path.
///
/// An invalid name is cleaned, not refused. What hides or reorders other characters is removed, since a name such as
/// `invoice[RLO]fdp.exe` would look like a PDF. Separators of paths, and the signs that Windows keeps for itself,
/// become underscores; dots and spaces around the name are removed. A long name is cut before its ending.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct FileName(Box<str>);

impl FileName {
    /// The cleaned name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FileName {
    fn from(text: &str) -> Self {
        // A cut may leave a space at the end, or half of an emoji.
        let name = cleaned(&cleaned(text));
        Self(if name.is_empty() { "file".into() } else { name.into() })
    }
}

fn cleaned(text: &str) -> String {
    let safe = |c: char| match c {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        c if c.is_whitespace() && !c.is_control() => ' ',
        c => c,
    };
    let name: String = printable(text.chars().take(4 * MAX_FILE_NAME_CHARS).map(safe)).collect();
    let name: Vec<char> = name.trim_matches(['.', ' ']).chars().collect();
    if name.len() <= MAX_FILE_NAME_CHARS {
        return name.into_iter().collect();
    }
    let dot = name.iter().rposition(|c| *c == '.').filter(|dot| name.len() - dot <= MAX_ENDING_CHARS);
    let ending = &name[dot.unwrap_or(name.len())..];
    name[..MAX_FILE_NAME_CHARS - ending.len()].iter().chain(ending).collect()
}

impl From<String> for FileName {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> String {
        name.0.into()
    }
}

/// A media type as the sender names it, for the icon; the file is never opened by it. Another text becomes empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct MimeType(Box<str>);

impl From<String> for MimeType {
    fn from(text: String) -> Self {
        let is_token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'_'))
        };
        let is_type = text.split_once('/').is_some_and(|(kind, rest)| is_token(kind) && is_token(rest));
        Self(if is_type && text.len() <= MAX_MIME_BYTES { text.into() } else { "".into() })
    }
}

impl From<MimeType> for String {
    fn from(mime: MimeType) -> String {
        mime.0.into()
    }
}

/// A file that a participant wants to bring to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareFile {
    /// The name.
    pub name: FileName,
    /// The length in bytes, at most [`MAX_SERVER_FILE_BYTES`].
    pub size: u64,
    /// The media type, perhaps empty.
    #[serde(default)]
    pub mime: MimeType,
    /// The only receiver; none for all participants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UserId>,
}

/// A file that lies whole at the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedFile {
    /// The number of the file in its room.
    pub file: FileId,
    /// The sender.
    pub user_id: UserId,
    /// The name that others see, possibly empty.
    pub nickname: Nickname,
    /// What the sender has said of the file.
    #[serde(flatten)]
    pub share: ShareFile,
}

/// What two participants say about a file over the data channel of their connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum PairFileMessage {
    File {
        id: String,
    },
    FileAnswer {
        id: String,
        accepted: bool,
        reason: String,
    },
    #[serde(other)]
    Other,
}

/// The answer of a participant that takes no files to a message of a pair's data channel; none if the message offers no
/// file.
pub fn decline_of_file(text: &str) -> Option<String> {
    let Ok(PairFileMessage::File { id }) = serde_json::from_str(text) else { return None };
    let is_id = (1..=MAX_PAIR_FILE_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id.then(|| to_json(&PairFileMessage::FileAnswer { id, accepted: false, reason: "noFiles".into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_becomes_a_name_without_path_and_without_tricks() {
        let name = |text: &str| FileName::from(text).as_str().to_owned();
        for (text, cleaned) in [
            ("notes.pdf", "notes.pdf"),
            ("作业 第一章.docx", "作业 第一章.docx"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\Windows\\a.exe", "C__Windows_a.exe"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("a\r\nSet-Cookie: x", "aSet-Cookie_ x"),
            (" .bashrc. ", "bashrc"),
            ("\u{200b}..", "file"),
            ("", "file"),
        ] {
            assert_eq!(name(text), cleaned, "{text:?}");
        }
        let long = name(&format!("{}.tar.gz", "x".repeat(100_000)));
        assert!(long.chars().count() <= MAX_FILE_NAME_CHARS, "{long}");
        let cut = name(&format!("{}.pdf", "é".repeat(200)));
        assert!(cut.chars().count() == MAX_FILE_NAME_CHARS && cut.ends_with("é.pdf"), "{cut}");
    }

    #[test]
    fn a_media_type_is_one_or_nothing() {
        let mime = |text: &str| String::from(MimeType::from(text.to_owned()));
        assert_eq!(mime("image/svg+xml"), "image/svg+xml");
        for text in ["", "text", "a/b/c", "text/html; charset=x", "a/\n", "/", &format!("a/{}", "b".repeat(200))] {
            assert_eq!(mime(text), "", "{text:?}");
        }
    }

    #[test]
    fn a_participant_without_files_declines_offers_and_nothing_else() {
        let offer = r#"{"type":"file","id":"8f3a","name":"a","size":1,"mime":""}"#;
        let answer = r#"{"type":"fileAnswer","id":"8f3a","accepted":false,"reason":"noFiles"}"#;
        assert_eq!(decline_of_file(offer).as_deref(), Some(answer));
        let long = format!(r#"{{"type":"file","id":"{}"}}"#, "a".repeat(40));
        for text in ["", "{}", r#"{"type":"moved"}"#, r#"{"type":"file","id":"a b"}"#, answer, &long] {
            assert_eq!(decline_of_file(text), None, "{text}");
        }
    }
}

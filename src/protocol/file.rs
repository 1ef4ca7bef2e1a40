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

/// The largest message of a data channel that carries a file, in bytes.
pub const FILE_CHUNK_BYTES: usize = 16 * 1024;

/// The longest id of a file between participants, in bytes.
const MAX_PAIR_FILE_ID_BYTES: usize = 32;

/// The longest text about a file over the data channel of a pair, and over that of the file, in bytes.
const MAX_PAIR_FILE_TEXT_BYTES: usize = 4_000;
const MAX_CHANNEL_TEXT_BYTES: usize = 300;

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

/// The id of a file between two participants: 1 to 32 letters and digits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PairFileId(Box<str>);

impl PairFileId {
    /// The id of a random number.
    pub fn new(random: u64) -> Self {
        Self(format!("{random:016x}").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PairFileId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_id =
            (1..=MAX_PAIR_FILE_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_id { Ok(Self(text.into())) } else { Err("the id of a file has 1 to 32 letters and digits") }
    }
}

impl From<PairFileId> for String {
    fn from(id: PairFileId) -> String {
        id.0.into()
    }
}

/// Why a participant does not take a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileDecline {
    /// The person does not want it.
    Declined,
    /// The program there takes no files.
    NoFiles,
    /// Too many files wait there.
    Busy,
    /// The file is too large.
    TooLarge,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

/// What two participants say about a file over the data channel of their connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PairFileMessage {
    /// The sender offers a file.
    File {
        /// The id.
        id: PairFileId,
        /// The name.
        name: FileName,
        /// The length in bytes, not 0.
        size: u64,
        /// The media type, perhaps empty.
        #[serde(default)]
        mime: MimeType,
        /// Whether nobody else is offered the file.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        only: bool,
    },
    /// The receiver accepts or declines.
    FileAnswer {
        /// The id.
        id: PairFileId,
        /// Whether the receiver takes the file.
        accepted: bool,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<FileDecline>,
    },
    /// One of the two does not go on.
    FileCancel {
        /// The id.
        id: PairFileId,
    },
}

impl PairFileMessage {
    /// Parses a message of a pair's data channel; none if the message is not about files.
    pub fn parse(text: &str) -> Option<Self> {
        let message = serde_json::from_str(text).ok()?;
        let is_empty = matches!(message, Self::File { size: 0, .. });
        (!is_empty && text.len() <= MAX_PAIR_FILE_TEXT_BYTES).then_some(message)
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// The id of the file.
    pub fn into_id(self) -> PairFileId {
        let (Self::File { id, .. } | Self::FileAnswer { id, .. } | Self::FileCancel { id }) = self;
        id
    }
}

/// What both sides say over the data channel of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum FileChannelMessage {
    /// The sender has sent the last byte.
    End {
        /// The SHA-256 of the file in hexadecimal; empty if the sender can't compute one.
        sha256: String,
    },
    /// The receiver has the file.
    Received,
    /// The receiver got something else than was offered.
    Broken,
}

impl FileChannelMessage {
    /// Parses a text of the channel.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= MAX_CHANNEL_TEXT_BYTES).then(|| serde_json::from_str(text).ok())?
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
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
    fn only_whole_messages_about_files_are_read() {
        let offer = |more: &str| format!(r#"{{"type":"file","id":"8f3a","name":"a/b","size":5{more}}}"#);
        let parsed = PairFileMessage::parse(&offer(r#","only":true"#));
        let Some(PairFileMessage::File { id, name, size, only, .. }) = parsed else { panic!("{parsed:?}") };
        assert_eq!((id.as_str(), name.as_str(), size, only), ("8f3a", "a_b", 5, true));
        let accepted = r#"{"type":"fileAnswer","id":"8f3a","accepted":true}"#;
        assert_eq!(PairFileMessage::parse(accepted).map(|message| message.to_json()).as_deref(), Some(accepted));
        let declined = r#"{"type":"fileAnswer","id":"8f3a","accepted":false,"reason":"noFiles"}"#;
        assert_eq!(PairFileMessage::parse(declined).map(|message| message.to_json()).as_deref(), Some(declined));
        let later = r#"{"type":"fileAnswer","id":"8f3a","accepted":false,"reason":"noon"}"#;
        let Some(PairFileMessage::FileAnswer { reason, .. }) = PairFileMessage::parse(later) else { panic!() };
        assert_eq!(reason, Some(FileDecline::Unknown));
        let long_id = format!(r#"{{"type":"fileCancel","id":"{}"}}"#, "a".repeat(33));
        let long = offer(&format!(r#","mime":"{}""#, "x".repeat(9_000)));
        let empty = offer("").replace('5', "0");
        let negative = offer("").replace('5', "-5");
        for text in ["", "{}", r#"{"type":"moved"}"#, r#"{"type":"fileCancel","id":"a b"}"#, &long_id, &long, &empty] {
            assert_eq!(PairFileMessage::parse(text), None, "{text}");
        }
        assert_eq!(PairFileMessage::parse(&negative), None);
        let end = FileChannelMessage::End { sha256: "00ff".into() };
        assert_eq!(FileChannelMessage::parse(&end.to_json()), Some(end));
        assert_eq!(FileChannelMessage::parse(&format!(r#"{{"type":"end","sha256":"{}"}}"#, "0".repeat(400))), None);
    }
}

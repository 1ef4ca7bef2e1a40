//! A publisher's offer (RFC 8829), its answer, and the part of the negotiation that the core does.
//!
//! The core gets an offer of our own with the publisher's ICE and DTLS parameters (`PublishOffer::for_core`), because
//! it would answer with several codecs, and because it refuses sections without an `a=ssrc` line, and simulcast has no
//! such line. The media sections of the answer are written here.

mod answer;
mod codecs;
mod error;
mod sections;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Cursor;

use rtc::sdp::SessionDescription;
use rtc::sdp::description::media::MediaDescription;

pub use self::error::PublishError;
use self::sections::{MediaSection, Parsed, Section};
use super::ice::are_credentials;
use super::offer::MAX_SECTIONS;
use crate::ingest::{ExtensionIds, IngestSection};
use crate::rtp::{Codec, Encoding, Tier, Track};

/// The longest mid in bytes; browsers write one digit, GStreamer `video0`.
const MAX_MID_BYTES: usize = 32;

/// The most bytes of an ICE user name fragment or password (RFC 8839, 5.4), and of a fingerprint line.
const MAX_ATTRIBUTE_BYTES: usize = 256;

/// The DTLS role that the publisher offers (RFC 8842, 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    Actpass,
    Active,
    Passive,
}

/// A parsed offer of a publisher.
#[derive(Debug)]
pub(crate) struct PublishOffer {
    sections: Vec<Section>,
    is_bundled: bool,
    ids: ExtensionIds,
    ufrag: String,
    password: String,
    /// The hash function and the hash, as in `a=fingerprint`.
    fingerprint: String,
    setup: Setup,
    is_ice_lite: bool,
    /// `candidate:...`, without `a=`.
    candidates: Vec<String>,
}

impl PublishOffer {
    /// Parses an offer. `tracks` maps the mids of sections to tracks, and other sections are not taken; without it the
    /// first audio section is [`Track::Audio`], the first video section [`Track::Screen`], the second one
    /// [`Track::Camera`]. If a section offers a codec of `preferred` for its track, it gets that codec, otherwise the
    /// first one that can be taken.
    ///
    /// # Errors
    /// [`PublishError`], with a sentence for the publisher.
    pub(crate) fn parse(
        sdp: &str,
        tracks: Option<&BTreeMap<String, Track>>,
        preferred: &[(Track, Codec)],
    ) -> Result<Self, PublishError> {
        let session = SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()))
            .map_err(|e| PublishError::Malformed(e.to_string()))?;
        let sections = &session.media_descriptions;
        if sections.len() > MAX_SECTIONS {
            return Err(PublishError::TooManySections(sections.len()));
        }
        let attribute = |name: &'static str| {
            let of_session = session.attribute(name).map(String::as_str);
            let of_sections = || live(sections).find_map(|section| section.attribute(name).flatten());
            of_session.or_else(of_sections).map(str::trim)
        };
        let required = |name: &'static str| match attribute(name) {
            Some(value) if is_usable(value) => Ok(value.to_owned()),
            Some(_) | None => Err(PublishError::Missing(name)),
        };
        let (ufrag, password) = (required("ice-ufrag")?, required("ice-pwd")?);
        let fingerprint = fingerprint(&session).ok_or(PublishError::Missing("fingerprint"))?;
        let setup = match attribute("setup") {
            Some("active") => Setup::Active,
            Some("passive") => Setup::Passive,
            _ => Setup::Actpass,
        };
        let Parsed { sections, ids, is_bundled } = sections::parse(&session, tracks, preferred)?;
        let candidates = session
            .media_descriptions
            .iter()
            .flat_map(|section| &section.attributes)
            .filter(|attribute| attribute.key == "candidate")
            .filter_map(|attribute| Some(format!("candidate:{}", attribute.value.as_deref()?.trim())))
            .collect();
        let is_ice_lite = session.has_attribute("ice-lite");
        Ok(Self { sections, is_bundled, ids, ufrag, password, fingerprint, setup, is_ice_lite, candidates })
    }

    /// The sections that send media to us, and the ids of header extensions.
    pub(crate) fn ingest_sections(&self) -> (Vec<IngestSection>, ExtensionIds) {
        let sections = self.taken().map(|(media, track)| IngestSection {
            mid: media.mid.clone(),
            track,
            codecs: vec![(media.codec.payload_type, media.codec.codec)],
            rtx: media.codec.rtx.iter().map(|rtx| (*rtx, media.codec.payload_type)).collect(),
            rids: media.rids.clone(),
            ssrcs: media.ssrcs.clone(),
        });
        (sections.collect(), self.ids)
    }

    /// The encodings that the offer promises, each track best first.
    pub(crate) fn encodings(&self) -> Vec<Encoding> {
        let mut encodings: Vec<Encoding> = Vec::new();
        for track in Track::ALL {
            for (media, _) in self.taken().filter(|(_, taken)| *taken == track) {
                let full = Encoding::full(track, media.codec.codec);
                encodings.push(full);
                if media.rids.len() > 1 {
                    encodings.push(full.with(Tier::Low));
                }
            }
        }
        encodings
    }

    /// Whether the offer has a data channel.
    pub(crate) fn has_data_channel(&self) -> bool {
        self.sections.iter().any(|section| matches!(section, Section::Data { .. }))
    }

    /// Whether the publisher waits for our ClientHello.
    pub(crate) fn is_dtls_server(&self) -> bool {
        self.setup == Setup::Passive
    }

    /// The candidates in the offer, each `candidate:...` (RFC 8839, 5.1).
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &str> {
        self.candidates.iter().map(String::as_str)
    }

    /// Takes the ICE parameters and no candidates of a restart (RFC 8839, 4.4.1.1.1). Returns whether they are valid.
    pub(crate) fn restart_ice(&mut self, ufrag: &str, password: &str) -> bool {
        let is_valid = are_credentials(ufrag, password);
        if is_valid {
            (self.ufrag, self.password) = (ufrag.to_owned(), password.to_owned());
            self.candidates.clear();
        }
        is_valid
    }

    fn taken(&self) -> impl Iterator<Item = (&MediaSection, Track)> {
        self.sections.iter().filter_map(|section| match section {
            Section::Media(media) => Some((media, media.track?)),
            Section::Data { .. } | Section::Rejected { .. } => None,
        })
    }
}

/// The sections that the offerer has not rejected.
fn live(sections: &[MediaDescription]) -> impl Iterator<Item = &MediaDescription> {
    sections.iter().filter(|section| section.media_name.port.value != 0 || section.has_attribute("bundle-only"))
}

fn is_usable(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_ATTRIBUTE_BYTES && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// The fingerprint of the publisher's certificate, SHA-256 if there are several.
fn fingerprint(session: &SessionDescription) -> Option<String> {
    let of_sections = live(&session.media_descriptions).flat_map(|section| &section.attributes);
    let all = session.attributes.iter().chain(of_sections).filter(|attribute| attribute.key == "fingerprint");
    let mut values: Vec<&str> = all.filter_map(|attribute| Some(attribute.value.as_deref()?.trim())).collect();
    values.retain(|value| is_usable(value) && value.split(' ').count() == 2);
    let sha256 = values.iter().find(|value| value.to_ascii_lowercase().starts_with("sha-256 "));
    sha256.or(values.first()).map(|value| (*value).to_owned())
}

//! Finds the encoding of an SSRC (RFC 8843, 9.2; RFC 8852).

use super::packet::RtpPacket;
use super::{ExtensionIds, IngestSection};
use crate::rtp::{Codec, Tier};

/// The most SSRCs of a publisher: five encodings and their RTX streams are ten.
const MAX_SSRCS: usize = 16;

/// The content of a stream, with the number of its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The media of an encoding.
    Media(usize),
    /// The retransmissions of an encoding.
    Rtx(usize),
    /// A layer between the best one and the smallest one.
    Unused,
}

/// The place of an encoding in the offer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) section: usize,
    pub(super) tier: Tier,
}

/// The sections of the offer, and the SSRCs known so far.
#[derive(Debug)]
pub(super) struct Sources {
    sections: Vec<IngestSection>,
    ids: ExtensionIds,
    slots: Vec<Slot>,
    known: Vec<(u32, Source)>,
    /// The entry of the last packet. Packets of a frame come together.
    last: usize,
}

impl Sources {
    /// The sources of an offer. Of two sections with the same track the first one counts.
    pub(super) fn new(mut sections: Vec<IngestSection>, ids: ExtensionIds) -> Self {
        let mut tracks = Vec::new();
        sections.retain(|section| {
            let is_new = !tracks.contains(&section.track);
            tracks.push(section.track);
            is_new
        });
        let mut sources = Self { sections, ids, slots: Vec::new(), known: Vec::new(), last: 0 };
        for (number, section) in sources.sections.iter().enumerate() {
            let slot = sources.slots.len();
            sources.slots.push(Slot { section: number, tier: Tier::Full });
            if section.rids.len() > 1 && section.track.is_video() {
                sources.slots.push(Slot { section: number, tier: Tier::Low });
            } else if let Some((ssrc, rtx)) = section.ssrcs.first().filter(|_| section.rids.is_empty()) {
                sources.known.push((*ssrc, Source::Media(slot)));
                sources.known.extend(rtx.map(|rtx| (rtx, Source::Rtx(slot))));
            }
        }
        sources
    }

    /// All encodings.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The section of an encoding.
    pub(super) fn section(&self, slot: usize) -> &IngestSection {
        &self.sections[self.slots[slot].section]
    }

    /// The codec of a payload type in the section of an encoding.
    #[inline]
    pub(super) fn codec(&self, slot: usize, payload_type: u8) -> Option<Codec> {
        let codecs = &self.section(slot).codecs;
        codecs.iter().find(|(known, _)| *known == payload_type).map(|(_, codec)| *codec)
    }

    /// The payload type that an RTX payload type repeats.
    pub(super) fn repeated(&self, slot: usize, payload_type: u8) -> Option<u8> {
        self.section(slot).rtx.iter().find(|(known, _)| *known == payload_type).map(|(_, apt)| *apt)
    }

    /// The source of a known SSRC.
    #[inline]
    pub(super) fn find(&mut self, ssrc: u32) -> Option<Source> {
        if self.known.get(self.last).is_none_or(|(known, _)| *known != ssrc) {
            self.last = self.known.iter().position(|(known, _)| *known == ssrc)?;
        }
        self.known.get(self.last).map(|(_, source)| *source)
    }

    /// The SSRC of an encoding's media.
    pub(super) fn media_ssrc(&self, slot: usize) -> Option<u32> {
        self.known.iter().find(|(_, source)| *source == Source::Media(slot)).map(|(ssrc, _)| *ssrc)
    }

    /// Finds the source of an unknown SSRC by the header extensions, or else by the payload type if only one section
    /// has it. RTX without header extensions is found by the `a=ssrc-group:FID` of the offer. A new SSRC of media
    /// replaces the old SSRC only if `is_silent` is true for the encoding.
    pub(super) fn learn(&mut self, packet: &RtpPacket<'_>, is_silent: impl Fn(usize) -> bool) -> Option<Source> {
        let source = self.paired(packet.header.ssrc).or_else(|| self.identify(packet))?;
        let taken = self.known.iter().position(|(_, known)| *known == source && *known != Source::Unused);
        match (taken, source) {
            (Some(_), Source::Media(slot)) if !is_silent(slot) => return None,
            (Some(at), _) => {
                self.known.remove(at);
            }
            (None, _) if self.known.len() >= MAX_SSRCS => return None,
            (None, _) => {}
        }
        self.known.push((packet.header.ssrc, source));
        self.last = self.known.len() - 1;
        Some(source)
    }

    /// This SSRC carries the media of an encoding from now on. Any earlier one of the encoding does not.
    pub(super) fn assign(&mut self, slot: usize, ssrc: u32) {
        self.known.retain(|(known, source)| *known != ssrc && *source != Source::Media(slot));
        self.known.push((ssrc, Source::Media(slot)));
        self.last = self.known.len() - 1;
    }

    /// The stream with this SSRC has ended.
    pub(super) fn forget(&mut self, ssrc: u32) {
        self.known.retain(|(known, _)| *known != ssrc);
    }

    /// The RTX stream whose media the offer names, if the encoding of that media is known.
    fn paired(&self, rtx: u32) -> Option<Source> {
        let mut pairs = self.sections.iter().flat_map(|section| &section.ssrcs);
        let (media, _) = pairs.find(|(_, of)| *of == Some(rtx))?;
        match self.known.iter().find(|(known, _)| known == media)?.1 {
            Source::Media(slot) => Some(Source::Rtx(slot)),
            Source::Rtx(_) | Source::Unused => Some(Source::Unused),
        }
    }

    fn identify(&self, packet: &RtpPacket<'_>) -> Option<Source> {
        let (mut mid, mut rid, mut repaired) = (None, None, None);
        for (id, value) in packet.extensions {
            match Some(id) {
                id if id == self.ids.mid => mid = Some(value),
                id if id == self.ids.rid => rid = Some(value),
                id if id == self.ids.repaired_rid => repaired = Some(value),
                _ => {}
            }
        }
        let stream = repaired.or(rid);
        let section = match (mid, stream) {
            (Some(mid), _) => self.sections.iter().position(|section| section.mid.as_bytes() == mid)?,
            (None, Some(rid)) => self.only(|section| section.rids.iter().any(|known| known.as_bytes() == rid))?,
            (None, None) => self.only(|section| section.has(packet.header.payload_type))?,
        };
        let rids = &self.sections[section].rids;
        let tier = match (&rids[..], stream) {
            ([] | [_], _) => Tier::Full,
            (_, None) => return None,
            (rids, Some(rid)) => match rids.iter().position(|known| known.as_bytes() == rid)? {
                0 => Tier::Full,
                last if last == rids.len() - 1 => Tier::Low,
                _ => return Some(Source::Unused),
            },
        };
        let slot = self.slots.iter().position(|slot| (slot.section, slot.tier) == (section, tier))?;
        let is_rtx = repaired.is_some() || self.repeated(slot, packet.header.payload_type).is_some();
        Some(if is_rtx { Source::Rtx(slot) } else { Source::Media(slot) })
    }

    /// The section that fits, if it is the only one.
    fn only(&self, fits: impl Fn(&IngestSection) -> bool) -> Option<usize> {
        let mut fitting = (0..self.sections.len()).filter(|at| fits(&self.sections[*at]));
        fitting.next().filter(|_| fitting.next().is_none())
    }
}

impl IngestSection {
    fn has(&self, payload_type: u8) -> bool {
        self.codecs
            .iter()
            .map(|(known, _)| known)
            .chain(self.rtx.iter().map(|(known, _)| known))
            .any(|known| *known == payload_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Track;

    fn section(mid: &str, track: Track, codecs: &[(u8, Codec)], rids: &[&str]) -> IngestSection {
        IngestSection {
            mid: mid.to_owned(),
            track,
            codecs: codecs.to_vec(),
            rtx: codecs.iter().filter(|_| track.is_video()).map(|(payload, _)| (payload + 1, *payload)).collect(),
            rids: rids.iter().map(|rid| (*rid).to_owned()).collect(),
            ssrcs: Vec::new(),
        }
    }

    fn sources() -> Sources {
        let mut camera = section("2", Track::Camera, &[(96, Codec::Vp8)], &[]);
        camera.ssrcs = vec![(900, Some(901)), (902, None)];
        let sections = vec![
            section("0", Track::Audio, &[(111, Codec::Opus)], &[]),
            section("1", Track::Screen, &[(96, Codec::Vp8), (102, Codec::H264)], &["h", "m", "l"]),
            camera,
        ];
        let ids = ExtensionIds { mid: Some(4), rid: Some(10), repaired_rid: Some(11), ..ExtensionIds::default() };
        Sources::new(sections, ids)
    }

    /// A packet of an SSRC with these elements of one-byte headers.
    fn packet(ssrc: u32, payload_type: u8, elements: &[(u8, &str)]) -> Vec<u8> {
        let mut extension: Vec<u8> = Vec::new();
        for (id, value) in elements {
            extension.push(id << 4 | (value.len() - 1) as u8);
            extension.extend(value.bytes());
        }
        extension.resize(extension.len().next_multiple_of(4), 0);
        let mut packet = vec![0x90, payload_type, 0, 1, 0, 0, 0, 0];
        packet.extend(ssrc.to_be_bytes());
        packet.extend([0xbe, 0xde, 0, (extension.len() / 4) as u8]);
        packet.extend(extension);
        packet
    }

    fn learn(sources: &mut Sources, bytes: &[u8]) -> Option<Source> {
        sources.learn(&RtpPacket::parse(bytes).unwrap(), |_| false)
    }

    #[test]
    fn layers_are_found_by_mid_and_rid() {
        let mut sources = sources();
        let slots: Vec<_> = sources.slots().iter().map(|slot| (slot.section, slot.tier)).collect();
        assert_eq!(slots, [(0, Tier::Full), (1, Tier::Full), (1, Tier::Low), (2, Tier::Full)]);
        for (ssrc, payload_type, elements, source) in [
            (1, 96, &[(4, "1"), (10, "h")][..], Some(Source::Media(1))),
            (2, 102, &[(4, "1"), (10, "l")], Some(Source::Media(2))),
            (3, 97, &[(4, "1"), (11, "h")], Some(Source::Rtx(1))),
            (4, 96, &[(4, "1"), (10, "m")], Some(Source::Unused)),
            (5, 96, &[(4, "1"), (10, "x")], None),
            (6, 96, &[(4, "1")], None),
            (7, 96, &[(4, "9"), (10, "h")], None),
            (8, 97, &[(11, "l")], Some(Source::Rtx(2))),
            (9, 111, &[], Some(Source::Media(0))),
            (10, 96, &[], None),
        ] {
            assert_eq!(learn(&mut sources, &packet(ssrc, payload_type, elements)), source, "{ssrc}");
            assert_eq!(sources.find(ssrc), source);
        }
        assert_eq!((sources.find(900), sources.find(901)), (Some(Source::Media(3)), Some(Source::Rtx(3))));
        assert_eq!((sources.media_ssrc(2), sources.media_ssrc(3)), (Some(2), Some(900)));
    }

    #[test]
    fn rtx_without_header_extensions_is_found_by_the_pairs_of_the_offer() {
        let mut screen = section("1", Track::Screen, &[(120, Codec::Vp8)], &["full", "low"]);
        screen.ssrcs = vec![(50, Some(51)), (60, Some(61))];
        let ids = ExtensionIds { mid: Some(4), rid: Some(10), ..ExtensionIds::default() };
        let mut sources = Sources::new(vec![screen], ids);
        let rtx = packet(61, 121, &[(4, "1")]);
        assert_eq!(learn(&mut sources, &rtx), None, "its media is unknown");
        // The order of the SSRCs need not be that of the restriction identifiers.
        assert_eq!(learn(&mut sources, &packet(60, 120, &[(4, "1"), (10, "full")])), Some(Source::Media(0)));
        assert_eq!(learn(&mut sources, &packet(50, 120, &[(4, "1"), (10, "low")])), Some(Source::Media(1)));
        assert_eq!(learn(&mut sources, &rtx), Some(Source::Rtx(0)));
        assert_eq!(learn(&mut sources, &packet(51, 121, &[])), Some(Source::Rtx(1)));
    }

    #[test]
    fn an_ssrc_takes_the_place_only_of_a_silent_one() {
        let mut sources = sources();
        let next = packet(77, 111, &[(4, "0")]);
        assert_eq!(learn(&mut sources, &packet(5, 111, &[(4, "0")])), Some(Source::Media(0)));
        assert_eq!(learn(&mut sources, &next), None);
        let next = RtpPacket::parse(&next).unwrap();
        assert_eq!(sources.learn(&next, |slot| slot == 0), Some(Source::Media(0)));
        assert_eq!((sources.find(5), sources.media_ssrc(0)), (None, Some(77)));
        sources.forget(77);
        assert_eq!(sources.find(77), None);
    }

    #[test]
    fn the_number_of_ssrcs_is_bounded() {
        let mut sources = sources();
        let learned = (1_000..2_000).filter(|n| learn(&mut sources, &packet(*n, 96, &[(4, "1"), (10, "m")])).is_some());
        assert_eq!(learned.count(), MAX_SSRCS - 2);
    }
}

//! From the flags that were typed to what they mean. Combinations that contradict each other become a [`Conflict`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::parser::ValueSource;

use super::args::{TypedServe, TypedTeach, TypedWatch};
use super::capture::{TypedEncoding, TypedSources};
use super::conflict::Conflict;
use super::connect::{Relays, chat_input, nickname, server_trust};
use super::demo::TypedDemo;
use super::meaning::{
    Cluster, Demo, DemoLecture, Device, MainSource, Member, Serve, ServerTrust, Signalling, Sources, Teach, Video,
    Watch,
};
use super::values::Bitrate;
use crate::media::{FileList, Tiers};
use crate::protocol::DEFAULT_PORT;
use crate::protocol::channel::Allowed;

/// Pictures per second where `--fps` is not given.
const DEFAULT_FPS: u32 = 30;

impl TryFrom<TypedDemo> for Demo {
    type Error = Conflict;
    fn try_from(typed: TypedDemo) -> Result<Self, Conflict> {
        let lecture = match typed.file {
            paths if !paths.is_empty() => DemoLecture::Files(FileList { paths, repeat: typed.looped, still: None }),
            _ if typed.looped => return Err(Conflict::LoopWithoutFile),
            _ => DemoLecture::BuiltIn,
        };
        check_low_bitrate(typed.tiers, Some(Bitrate::default()))?;
        Ok(Demo { lecture, tiers: typed.tiers, sink: typed.sink.try_into()?, length: typed.length })
    }
}

impl TypedTeach {
    /// `server_source` says whether `--server` comes from the command line or from `$CLASSROOM_SERVER`.
    pub(super) fn convert(self, server_source: Option<ValueSource>) -> Result<Teach, Conflict> {
        // A typed --listen overrules `$CLASSROOM_SERVER`, which is only the default of this computer.
        let is_typed = server_source == Some(ValueSource::CommandLine);
        let link = self.server.as_ref().map(|server| server.1.clone()).unwrap_or_default();
        // So do flags of the built-in server.
        let runs_here =
            self.listen.is_some() || self.certificate.is_typed() || self.policy.auth.is_some() || self.via.is_typed();
        let server = self.server.and_then(|server| server.0).filter(|_| is_typed || !runs_here);
        let trust = match (self.trust.first_flag(), &server) {
            // A CA may be that of a WHIP server.
            (Some("--ca"), None) if self.whip.is_typed() || self.janus.is_typed() => {
                ServerTrust { ca: self.trust.ca, fingerprint: None }
            }
            (Some(flag), None) => return Err(Conflict::TrustWithoutServer(flag)),
            _ => server_trust(self.trust, server.as_ref())?,
        };
        let signalling = match (server, self.listen) {
            (Some(_), Some(_)) => return Err(Conflict::ServerAndListen),
            (Some(_), None) if self.certificate.is_typed() => return Err(Conflict::TlsForAnotherServer),
            (Some(url), None) => Signalling::Remote(url),
            (None, listen) => {
                let any_address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT);
                Signalling::Embedded { listen: listen.unwrap_or(any_address), tls: self.certificate.source() }
            }
        };
        let udp_port_may_change = self.udp_port.is_none() && matches!(signalling, Signalling::Remote(_));
        let udp_port = self.udp_port.unwrap_or(match signalling {
            Signalling::Embedded { listen, .. } => listen.port(),
            Signalling::Remote(_) => DEFAULT_PORT,
        });
        let is_remote = matches!(signalling, Signalling::Remote(_));
        let listen_ip = match signalling {
            Signalling::Embedded { listen, .. } => listen.ip(),
            Signalling::Remote(_) => Ipv4Addr::UNSPECIFIED.into(),
        };
        let Relays { servers: turn, own: own_turn, secret: turn_secret } = self.turn.convert(listen_ip)?;
        if (!turn.is_empty() || own_turn.is_some()) && is_remote {
            return Err(Conflict::TurnForAnotherServer);
        }
        if let (Signalling::Remote(_), Some(flag)) = (&signalling, self.site.first_flag()) {
            return Err(Conflict::SiteOfAnotherServer(flag));
        }
        if self.policy.auth.is_some() && is_remote {
            return Err(Conflict::SiteOfAnotherServer("--auth"));
        }
        if self.via.is_typed() && is_remote {
            return Err(Conflict::ViaOfAnotherServer);
        }
        let (audio, exit_when_empty) = (!self.sources.no_audio, self.sources.lecture.exit_when_empty);
        let sources = Sources::try_from(self.sources)?;
        match (&sources, self.encoding.first_flag()) {
            (Sources::Pipeline(_), Some(flag)) => return Err(Conflict::PipelineEncodes(flag)),
            (Sources::Whip, _) if self.whip.is_typed() => return Err(Conflict::WhipOutOfWhipIn),
            (Sources::Whip, _) if self.janus.is_typed() => return Err(Conflict::JanusOfWhipIn),
            (Sources::Whip, Some(flag)) => return Err(Conflict::WhipEncodes(flag)),
            _ => {}
        }
        let TypedEncoding { codec, size, fps, bitrate, tiers, content } = self.encoding;
        let (fps, tiers) = (fps.unwrap_or(DEFAULT_FPS), tiers.unwrap_or_default());
        check_low_bitrate(tiers, bitrate)?;
        Ok(Teach {
            nickname: nickname(self.nickname, &self.user),
            room: self.room,
            room_name: self.name,
            user: self.user,
            signalling,
            site: self.site.into(),
            trust,
            sources,
            audio,
            video: Video { codec, size, fps, bitrate, tiers, content },
            access: self.policy.convert(turn_secret)?,
            room_access: self.room_access.into(),
            token: self.token.convert(link.token).filter(|_| is_remote),
            udp_port,
            udp_port_may_change,
            advertise: self.advertise,
            ice_tcp: self.ice_tcp.convert(),
            otlp: self.traces.otlp,
            stun: self.stun,
            turn,
            own_turn,
            workers: self.workers,
            max_students: self.max_students,
            attendance: self.attendance.into(),
            metrics: self.metrics,
            qr: !self.no_qr,
            length: self.length,
            exit_when_empty,
            end_class: self.end_class,
            chat: chat_input(self.chat),
            allowed: Allowed { comments: !self.no_comments, reactions: !self.no_reactions, ..Allowed::default() },
            stage: self.stage.into(),
            whip: self.whip.convert()?,
            janus: self.janus.convert(),
            via: self.via.convert(),
        })
    }
}

impl TypedEncoding {
    /// The first encoding flag that was typed.
    fn first_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--codec", self.codec.is_some()),
            ("--size", self.size.is_some()),
            ("--fps", self.fps.is_some()),
            ("--bitrate", self.bitrate.is_some()),
            ("--tiers", self.tiers.is_some()),
            ("--content", self.content.is_some()),
        ];
        flags.into_iter().find(|(_, is_typed)| *is_typed).map(|(flag, _)| flag)
    }
}

impl TryFrom<TypedSources> for Sources {
    type Error = Conflict;
    fn try_from(typed: TypedSources) -> Result<Self, Conflict> {
        if typed.file.is_empty() {
            if typed.looped {
                return Err(Conflict::LoopWithoutFile);
            }
            if typed.still.is_some() {
                return Err(Conflict::StillWithoutFile);
            }
        }
        if typed.mic.is_some() && typed.no_audio {
            return Err(Conflict::MicWithoutAudio);
        }
        let named = |device: Option<String>| device.map_or(Device::Default, Device::Named);
        let screen = typed.screen.map(|device| ("--screen", MainSource::Screen(named(device))));
        let files = FileList { paths: typed.file, repeat: typed.looped, still: typed.still };
        let file = (!files.paths.is_empty()).then_some(("--file", MainSource::Files(files)));
        let test = typed.test.then_some(("--test", MainSource::Test));
        let slides = typed.slides.map(|path| ("--slides", MainSource::Slides(path)));
        let lecture = typed.lecture.convert()?.map(|file| ("--lecture", MainSource::Lecture(file)));
        let mut mains = [lecture, file, slides, test, screen].into_iter().flatten();
        let main = mains.next();
        if let (Some((first, _)), Some((second, _))) = (&main, mains.next()) {
            return Err(Conflict::TwoSources(first, second));
        }
        let camera = typed.camera.as_ref().map(|_| "--camera");
        let device = camera.or(typed.mic.as_ref().map(|_| "--mic"));
        let other = main.as_ref().map(|(flag, _)| *flag).or(device);
        if typed.whip_in {
            return match other.or(typed.pipeline.map(|_| "--pipeline")) {
                Some(flag) => Err(Conflict::TwoSources("--whip-in", flag)),
                None if typed.no_audio => Err(Conflict::WhipEncodes("--no-audio")),
                None => Ok(Sources::Whip),
            };
        }
        if let Some(path) = typed.pipeline {
            return match other {
                Some(flag) => Err(Conflict::TwoSources("--pipeline", flag)),
                None if typed.no_audio => Err(Conflict::PipelineEncodes("--no-audio")),
                None => Ok(Sources::Pipeline(path)),
            };
        }
        let main = main.map(|(_, main)| main);
        let (camera, mic) = (typed.camera.map(named), typed.mic.map(named));
        Ok(match (&main, &camera, &mic) {
            (None, None, None) => Sources::Auto,
            _ => Sources::Chosen { main, camera, mic },
        })
    }
}

impl TryFrom<TypedWatch> for Watch {
    type Error = Conflict;
    fn try_from(typed: TypedWatch) -> Result<Self, Conflict> {
        let link = typed.server.as_ref().map(|server| server.1.clone()).unwrap_or_default();
        let server = typed.server.and_then(|server| server.0);
        let member = Member {
            nickname: nickname(typed.nickname, &typed.user),
            room: typed.room,
            user: typed.user,
            code: typed.code.or(link.code),
            token: typed.token.convert(link.token),
            trust: server_trust(typed.trust, server.as_ref())?,
            server,
            timeout: typed.timeout,
            stun: typed.stun,
            relay_only: typed.turn.relay_only,
            turn: typed.turn.convert()?,
        };
        Ok(Watch {
            member,
            sink: typed.sink.try_into()?,
            chat: chat_input(typed.chat),
            latency: typed.latency,
            length: typed.length,
            retry: typed.retry,
            expect: typed.expect,
            speaking: typed.speaking.convert()?,
            janus: typed.janus.convert(),
        })
    }
}

impl TryFrom<TypedServe> for Serve {
    type Error = Conflict;
    fn try_from(typed: TypedServe) -> Result<Self, Conflict> {
        let Relays { servers: turn, own: own_turn, secret } = typed.turn.convert(typed.listen.ip())?;
        let (tls, access) = (typed.certificate.source(), typed.policy.convert(secret)?);
        let media = typed.media.convert(typed.listen.port())?;
        if media.is_none() && own_turn.is_some() {
            return Err(Conflict::MediaFlagWithoutMedia("--turn without a URL"));
        }
        let (meetings, cluster) = (typed.meetings.into(), typed.cluster.convert()?);
        if media.is_none() && cluster.as_deref().is_some_and(|cluster: &Cluster| cluster.edge) {
            return Err(Conflict::EdgeWithoutMedia);
        }
        if media.is_none() && typed.via.is_typed() {
            return Err(Conflict::MediaFlagWithoutMedia("--via"));
        }
        let via = typed.via.convert();
        let (listen, stun, site) = (typed.listen, typed.stun, typed.site.into());
        let (otlp, print_mediamtx) = (typed.traces.otlp, typed.print_mediamtx);
        Ok(Serve {
            listen,
            tls,
            stun,
            turn,
            own_turn,
            site,
            access,
            meetings,
            media,
            cluster,
            via,
            otlp,
            print_mediamtx,
        })
    }
}

fn check_low_bitrate(tiers: Tiers, full: Option<Bitrate>) -> Result<(), Conflict> {
    match (tiers, full) {
        (Tiers::Both(Some(low)), Some(full)) if low > full.bits_per_second() => {
            Err(Conflict::LowAboveFull(format!("{}k", low / 1000), full))
        }
        _ => Ok(()),
    }
}

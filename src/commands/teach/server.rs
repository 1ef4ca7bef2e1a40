//! The signalling server of a lecture, inside this process or elsewhere, and what its students open or type.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::access::{JoinCode, TeachingKey, TurnSecret};
use crate::cli::{CodeChoice, EngineNode, Signalling, Teach};
use crate::commands::access::{ServerAccess, teaching_key};
use crate::commands::announcement::LiveAnnouncement;
use crate::commands::hosted_source::SourceSettings;
use crate::commands::ice_servers::ice_servers;
use crate::commands::ice_tcp::{OwnTcpPort, PagesPort, TcpMedia};
use crate::commands::listen;
use crate::commands::metrics::MetricsStore;
use crate::commands::own_turn::{OwnMedia, OwnTurnServer};
use crate::commands::room_link::{other_hosts, room_page, show_code, show_qr};
use crate::commands::serve::{RunningServer, ServerSettings, start_tls};
use crate::commands::trust::ClientTrust;
use crate::commands::whip::{WhipDoor, WhipPort};
use crate::exit::Failure;
use crate::protocol::{Credentials, RoomSettings};
use crate::report::Reporter;
use crate::room::{Meetings, Reservation};
use crate::sfu::MediaPort;
use crate::signal::{Announced, ClientConfig, ServerUrl, SessionToken};
use crate::tls::Trust;
use crate::trace::Tracer;

/// How long a teacher waits for the server that `--server` names.
const SERVER_WITHIN: Duration = Duration::from_secs(3);

/// The signalling server of a lecture: inside this process, or elsewhere.
pub(super) struct LectureServer {
    pub(super) embedded: Option<RunningServer>,
    /// The port for WHIP clients of a lecture at another server.
    pub(super) whip: Option<WhipPort>,
    /// The URL by which this process joins.
    pub(super) url: ServerUrl,
    /// The secret of this process in the room.
    pub(super) token: SessionToken,
    /// The trust of this process in another server.
    trust: ClientTrust,
    /// The key to show to another server.
    key: Option<TeachingKey>,
    /// The join code of the lecture.
    code: Option<JoinCode>,
    /// The address of the media socket.
    pub(super) media_ip: IpAddr,
    /// The media to which the TURN server of this process relays.
    own_media: OwnMedia,
    /// The ways to that media by TCP.
    tcp_media: TcpMedia,
}

impl LectureServer {
    /// `whip` takes the requests of WHIP clients that send the media.
    pub(super) fn start(
        teach: &Teach,
        whip: Option<WhipDoor>,
        tracer: &Tracer,
        reporter: &Reporter,
    ) -> Result<Self, Failure> {
        let (trust, tcp_media) = (ClientTrust::new(&teach.trust)?, TcpMedia::new(teach.ice_tcp));
        let code = teach.room_access.code.as_ref().map(join_code);
        let token = |url: &ServerUrl| SessionToken::acquire(url, &teach.room, &teach.user);
        let (address, tls) = match &teach.signalling {
            Signalling::Embedded { listen, tls } => (*listen, tls.clone()),
            Signalling::Remote(url) => {
                let key = teaching_key(teach.access.teaching_key.as_ref(), reporter)?;
                let (url, token, media_ip) = (url.clone(), token(url), Ipv4Addr::UNSPECIFIED.into());
                let whip = whip.map(WhipPort::start).transpose()?;
                let own_media = OwnMedia::default();
                return Ok(Self { embedded: None, whip, url, token, trust, key, code, media_ip, own_media, tcp_media });
            }
        };
        let (host, media_ip) = match address.ip() {
            // A server on all addresses goes with media on all addresses, of both families.
            ip if ip.is_unspecified() => (Ipv4Addr::LOCALHOST.into(), ip),
            ip => (ip, ip),
        };
        let tls = tls.map(|source| start_tls(source, &teach.site, reporter)).transpose()?;
        let turn_secret = teach.own_turn.map(|_| TurnSecret::own(rand::random()));
        let access = ServerAccess::start(&teach.access, teach.site.public_url.is_none(), turn_secret, reporter)?;
        let listener = listen(address)?;
        // Without TLS: the server allows that on the same computer.
        let url = ServerUrl::new(&host.to_string(), listener.local_addr().map_err(Failure::internal)?.port());
        let token = token(&url);
        let own_media = OwnMedia::default();
        let own_turn = teach.own_turn.map(|at| OwnTurnServer::bind(at, address, &access.policy(), &own_media));
        let (room, user, session) = (teach.room.clone(), teach.user.clone(), token.session().clone());
        let settings = ServerSettings {
            ice_servers: ice_servers(&teach.stun, &teach.turn),
            own_turn: own_turn.transpose()?.flatten(),
            tcp_media: Some(tcp_media.clone()),
            tracer: tracer.clone(),
            tls,
            access,
            site: teach.site.clone(),
            meetings: Meetings::Off,
            reservation: Some(Reservation { room, user, session }),
            whip,
            media: None,
            cluster: None,
            via: Vec::new(),
        };
        let embedded = RunningServer::start(listener, settings)?;
        let (embedded, whip, key) = (Some(embedded), None, None);
        Ok(Self { embedded, whip, url, token, trust, key, code, media_ip, own_media, tcp_media })
    }

    /// The media port is bound. Also returns the TCP port for media alone, if the flags ask for one.
    pub(super) fn bound_media(&self, teach: &Teach, port: &MediaPort) -> Result<Option<OwnTcpPort>, Failure> {
        self.own_media.bound(port.local());
        let has_proxy = teach.site.public_url.is_some();
        let pages = self.embedded.as_ref().map(|embedded| PagesPort { address: embedded.address(), has_proxy });
        self.tcp_media.start(port, pages)
    }

    /// From now on these nodes of engines, if there are any, send the lecture to students.
    pub(super) fn serve_by_engines(&mut self, nodes: Vec<EngineNode>, source: &SourceSettings, reporter: &Reporter) {
        if let Some(embedded) = self.embedded.as_mut().filter(|_| !nodes.is_empty()) {
            embedded.serve_by_engines(nodes, source.clone(), reporter);
        }
    }

    /// The page of the room, for students on other computers. The fragment with the join code never reaches a server.
    pub(super) fn link(&self, teach: &Teach) -> String {
        room_page(&self.student_url(), &teach.room, self.code.as_ref())
    }

    /// The join code.
    pub(super) fn code(&self) -> Option<&JoinCode> {
        self.code.as_ref()
    }

    /// The trust of this process in the server that it joins.
    fn trusted(&self) -> Trust {
        self.trust.of_named(&self.url)
    }

    /// Remembers another server that this process has joined.
    pub(super) fn remember(&self, teach: &Teach) {
        if self.embedded.is_none() {
            self.trust.joined_named(&self.url, &teach.room);
        }
    }

    pub(super) fn metrics(&self) -> MetricsStore {
        self.embedded.as_ref().map_or_else(|| MetricsStore::new(None, None), |embedded| embedded.metrics().clone())
    }

    /// The URL by which students on other computers join.
    fn student_url(&self) -> ServerUrl {
        match &self.embedded {
            Some(embedded) => embedded.url(),
            None => self.url.clone(),
        }
    }

    /// Tells the teacher what students open or type.
    pub(super) fn show_links(&self, teach: &Teach, link: &str, reporter: &Reporter) {
        let url = self.student_url();
        if let Some(code) = &self.code {
            show_code(code, reporter);
        }
        if teach.qr {
            show_qr(link, &url, reporter);
        }
        reporter.notice(format!("students open {link}"));
        // A name in the certificate of --tls-cert is the only host that browsers accept.
        let has_name = |embedded: &&RunningServer| embedded.tls().is_some_and(|tls| !tls.names().is_empty());
        let is_public = teach.site.public_url.is_some();
        let embedded = self.embedded.as_ref().filter(|embedded| !has_name(embedded) && !is_public);
        let others = embedded.map(|embedded| other_hosts(embedded.address(), url.host()));
        for (host, interface) in others.unwrap_or_default() {
            let other = ServerUrl::new(&host.to_string(), url.port()).with_tls(url.uses_tls());
            reporter.notice(format!(
                "  or, in the network of {interface}: {}",
                room_page(&other, &teach.room, self.code.as_ref())
            ));
        }
        if let Some(embedded) = embedded {
            embedded.show_certificate(reporter);
        }
        let room = &teach.room;
        let server = if url.uses_tls() { url.to_string() } else { url.authority() };
        let fingerprint = match &self.embedded {
            Some(embedded) => embedded.fingerprint(),
            None => teach.trust.fingerprint.map(|fingerprint| fingerprint.to_string()),
        };
        let fingerprint = fingerprint.map(|fingerprint| format!(" --fingerprint {fingerprint}")).unwrap_or_default();
        let code = self.code.as_ref().map(|code| format!(" --code {}", code.as_str())).unwrap_or_default();
        reporter
            .notice(format!("or type: classroom watch --room {room} --user 1001 --server {server}{fingerprint}{code}"));
    }

    /// Tells what to type into OBS for `--whip-in`.
    pub(super) fn show_whip(&self, teach: &Teach, reporter: &Reporter) {
        let own = self.embedded.as_ref().map(RunningServer::address).or(self.whip.as_ref().map(WhipPort::address));
        let Some(address) = own else { return };
        let bearer = match (&teach.access.teaching_key, &teach.access.auth) {
            _ if self.whip.is_some() => "leave it empty (only this computer may send)",
            (Some(_), _) => "the teaching key of this lecture",
            (None, Some(_)) => "a token of the role teacher for this room, see classroom token -h",
            (None, None) => "leave it empty (only this computer may send)",
        };
        reporter.notice("in OBS, Settings > Stream:".to_owned());
        reporter.notice("  Service: WHIP".to_owned());
        // OBS runs on this computer.
        let host = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        let address = SocketAddr::new(host, address.port());
        reporter.notice(format!("  Server: http://{address}/whip/{}", teach.room));
        reporter.notice(format!("  Bearer Token: {bearer}"));
    }

    /// Announces the room on the LAN, unless only this computer can reach the server.
    pub(super) fn announce(&self, teach: &Teach, reporter: &Reporter) -> Option<LiveAnnouncement> {
        let embedded = self.embedded.as_ref()?;
        let address = embedded.address();
        if address.ip().is_loopback() {
            return None;
        }
        let (room, nickname) = (teach.room.clone(), teach.nickname.clone());
        let announced = Announced { room, port: address.port(), nickname, identity: None };
        match LiveAnnouncement::start(announced, embedded.tls()) {
            Ok(announcement) => Some(announcement),
            Err(error) => {
                reporter.detail(format!("can't announce the room by DNS-SD: {error}; students need --server"));
                None
            }
        }
    }

    /// The teacher's settings for the room.
    pub(super) fn settings(&self, teach: &Teach) -> RoomSettings {
        let code = self.code.as_ref().map(|code| code.as_str().to_owned());
        RoomSettings { code, lobby: teach.room_access.lobby, ..RoomSettings::default() }
    }

    /// The configuration with which this process joins.
    pub(super) fn client_config(&self, teach: &Teach) -> ClientConfig {
        ClientConfig {
            kind: None,
            client: None,
            server: self.url.clone(),
            trust: self.trusted(),
            room: teach.room.clone(),
            room_name: teach.room_name.clone(),
            user: teach.user.clone(),
            nickname: teach.nickname.clone(),
            publishes: true,
            credentials: Credentials {
                session: Some(self.token.session().clone()),
                code: None,
                token: teach.token.as_ref().map(|token| token.as_str().to_owned()),
                key: self.key.as_ref().map(|key| key.as_str().to_owned()),
                room: Some(self.settings(teach)),
            },
            epoch: rand::random(),
            initial_deadline: SERVER_WITHIN,
        }
    }
}

/// The join code that the teacher chose.
fn join_code(choice: &CodeChoice) -> JoinCode {
    match choice {
        CodeChoice::Digits => JoinCode::digits(rand::random()),
        CodeChoice::Words => JoinCode::words(rand::random()),
        CodeChoice::Own(code) => code.clone(),
    }
}

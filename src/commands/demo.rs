//! `classroom demo`: teaches and watches a lecture in one process.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;

use tokio::sync::oneshot;

use super::room_link::room_page;
use super::stop::Stop;
use super::{or_never, stop, teach, watch};
use crate::cli::{
    self, AccessPolicy, AttendanceFiles, ChatInput, Demo, DemoLecture, Engines, IceTcp, Member, Output, RoomAccess,
    ServerTrust, Signalling, StageOptions, StageSink, Teach, Verbosity, Video, Watch, WhipOut,
};
use crate::exit::Failure;
use crate::http::Site;
use crate::id::{Nickname, RoomId, UserId};
use crate::media::{CaptureOptions, MainSource, Sources};
use crate::protocol::channel::Allowed;
use crate::report::{EndReason, Reporter};
use crate::rtp::Latency;
use crate::signal::ServerUrl;

/// The room of the demo.
pub(super) fn room() -> RoomId {
    id("demo")
}

fn id<T: std::str::FromStr<Err = crate::id::IdError>>(text: &str) -> T {
    // The ids are literals in this file, and a test parses them.
    text.parse().unwrap_or_else(|_| unreachable!("{text} is an id"))
}

/// Teaches and watches until it is stopped, then prints a summary.
pub(super) async fn run(demo: Demo, output: Output, reporter: &Reporter) -> Result<EndReason, Failure> {
    let teacher: UserId = id("9999");
    let defaults = CaptureOptions::default();
    let main = match demo.lecture {
        DemoLecture::BuiltIn => MainSource::Demo,
        DemoLecture::Files(list) => MainSource::Files(list),
    };
    let inspector = std::env::current_exe().ok();
    let options = CaptureOptions { sources: Sources::only(main), tiers: demo.tiers, inspector, ..defaults };
    let taught = Teach {
        room: room(),
        room_name: None,
        nickname: Nickname::from("demo"),
        user: teacher,
        signalling: Signalling::Embedded { listen: (Ipv4Addr::UNSPECIFIED, 0).into(), tls: None },
        trust: ServerTrust::default(),
        // `options` has the source.
        sources: cli::Sources::Auto,
        audio: true,
        video: Video {
            codec: None,
            size: None,
            fps: options.screen.fps,
            bitrate: None,
            tiers: options.tiers,
            content: None,
        },
        access: AccessPolicy::default(),
        room_access: RoomAccess::default(),
        token: None,
        udp_port: 0,
        udp_port_may_change: false,
        advertise: Vec::new(),
        stun: Vec::new(),
        turn: Vec::new(),
        own_turn: None,
        ice_tcp: IceTcp::Off,
        otlp: None,
        site: Site::default(),
        max_students: None,
        workers: NonZeroUsize::MIN,
        attendance: AttendanceFiles::default(),
        metrics: None,
        qr: false,
        length: None,
        exit_when_empty: None,
        end_class: true,
        chat: ChatInput::Never,
        allowed: Allowed::default(),
        stage: StageOptions { most: 0, sink: StageSink::None },
        whip: WhipOut::default(),
        janus: None,
        via: Engines::default(),
    };
    // People see the status line of the student, and only warnings of the teacher. Scripts get all events of both.
    let aside = match output {
        Output::Json => reporter.clone(),
        Output::Human => Reporter::new(output, Verbosity::Quiet, Some(room())),
    };
    let (ready, server) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let ends = async move {
        let _ = ended.await;
        Stop::Signal
    };
    let mut teaching =
        tokio::spawn(async move { teach::run_with(taught, options.into(), &aside, ends, Some(ready)).await });
    let mut stopped = std::pin::pin!(stop(None));
    let server: ServerUrl = tokio::select! {
        Ok(server) = server => server,
        // A teacher who ends before the lecture is live has failed.
        early = &mut teaching => return early.map_err(Failure::internal)?,
        reason = &mut stopped => return Ok(reason),
    };
    reporter.notice(format!("watch this lecture in a browser, too: {}", room_page(&server, &room(), None)));
    reporter.notice(format!(
        "or start another student: classroom watch --room {} --user 1002 --server {}",
        room(),
        server.authority()
    ));
    let student = Member {
        room: room(),
        user: id("1001"),
        nickname: Nickname::from("student"),
        server: Some(server),
        code: None,
        token: None,
        trust: ServerTrust::default(),
        timeout: None,
        stun: Vec::new(),
        turn: Vec::new(),
        relay_only: false,
    };
    let watched = Watch {
        member: student,
        sink: demo.sink,
        chat: ChatInput::Terminal,
        latency: Latency::AUTO,
        length: None,
        retry: None,
        expect: Vec::new(),
        speaking: None,
        janus: None,
    };
    let stopped = async {
        tokio::select! {
            reason = stopped => reason,
            () = or_never(demo.length.map(tokio::time::sleep)) => EndReason::Duration,
        }
    };
    let watched = watch::run(watched, reporter, stopped).await;
    let _ = end.send(());
    let taught = teaching.await.map_err(Failure::internal)?;
    let watched = watched?;
    taught?;
    reporter.finish();
    if !reporter.is_json() {
        reporter.result(&summary(&watched.run));
    }
    Ok(watched.reason)
}

/// The summary in one line.
fn summary(run: &crate::expect::Run) -> String {
    let Some(first) = run.first_frame else { return "no picture arrived".to_owned() };
    let seconds = run.live.as_secs_f64().max(0.001);
    let (width, height) = run.size.unwrap_or_default();
    format!(
        "watched {seconds:.1} s: {} pictures of {width}x{height}, {:.1} per second, {:.1} Mbit/s, first picture after \
         {} ms, {} packets lost, {} freezes",
        run.frames,
        run.frames as f64 / seconds,
        run.bytes as f64 * 8.0 / 1e6 / seconds,
        first.as_millis(),
        run.lost,
        run.freezes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_the_demo_are_valid() {
        let (_, _): (UserId, UserId) = (id("9999"), id("1001"));
        assert_eq!(room().as_str(), "demo");
    }
}

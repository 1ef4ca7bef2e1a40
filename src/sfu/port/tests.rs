//! Tests of SFUs and viewers on a shared port, on loopback, through handles.

use std::net::UdpSocket;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::rtp::{Codec, Encoding, Track};
use crate::sfu::command::Command as SfuCommand;
use crate::sfu::tests::{config, next, student};
use crate::sfu::{Sfu, SfuEvent, UdpBinding};
use crate::viewer::{Viewer, ViewerEvent};

const LIMIT: Duration = Duration::from_secs(20);

fn bound() -> (MediaPort, mpsc::Receiver<String>) {
    MediaPort::bind("127.0.0.1:0".parse().unwrap(), &[]).unwrap()
}

fn sfu(port: &MediaPort, workers: usize) -> (Sfu, mpsc::Receiver<SfuEvent>) {
    let encodings = vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)];
    let workers = NonZeroUsize::new(workers).unwrap();
    Sfu::start(config(UdpBinding::Shared(port.clone()), 10, encodings, workers)).unwrap()
}

/// Passes a message in each direction.
async fn talk(
    (sfu, events): (&Sfu, &mut mpsc::Receiver<SfuEvent>),
    (link, hears): (&Viewer, &mut mpsc::Receiver<ViewerEvent>),
) {
    assert!(link.say("here").await);
    next(events, |event| matches!(event, SfuEvent::Heard { .. }).then_some(())).await;
    sfu.tell_all("go on");
    next(hears, |event| matches!(event, ViewerEvent::Heard(text) if text == "go on").then_some(())).await;
}

#[tokio::test]
async fn a_failed_socket_is_reopened_for_all_sfus() {
    let (port, mut notices) = bound();
    let (one, mut events_of_one) = sfu(&port, 1);
    let (other, mut events_of_other) = sfu(&port, 2);
    let (first, mut first_hears) = student(&one, &mut events_of_one, "1001").await;
    let (second, mut second_hears) = student(&other, &mut events_of_other, "1001").await;
    for _ in 0..2 {
        port.fail_receives(libc::EBADF);
        let notice = timeout(LIMIT, notices.recv()).await.unwrap().unwrap();
        assert!(notice.contains("reopened") && notice.contains(&port.local().port().to_string()), "{notice}");
        talk((&one, &mut events_of_one), (&first, &mut first_hears)).await;
        talk((&other, &mut events_of_other), (&second, &mut second_hears)).await;
    }
    let (late, mut events_of_late) = sfu(&port, 1);
    let (third, mut third_hears) = student(&late, &mut events_of_late, "1001").await;
    talk((&late, &mut events_of_late), (&third, &mut third_hears)).await;
    for link in [first, second, third] {
        link.close().await;
    }
    for sfu in [one, other, late] {
        sfu.close().await;
    }
}

/// A STUN request for the peer with this user name fragment, which is not authentic.
fn request(ufrag: &str) -> Vec<u8> {
    let name = format!("{ufrag}:x");
    let mut message = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12], &[0, 6, 0, name.len() as u8]].concat();
    message.extend_from_slice(name.as_bytes());
    message.resize(24 + name.len().next_multiple_of(4), 0);
    let length = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

#[tokio::test]
async fn a_blocked_sfu_loses_its_own_datagrams_only() {
    let (port, _notices) = bound();
    let (one, mut events_of_one) = sfu(&port, 1);
    let tag = port.0.common.tags().in_use()[0];
    let (other, mut events_of_other) = sfu(&port, 1);
    let (first, mut first_hears) = student(&one, &mut events_of_one, "1001").await;
    let (second, mut second_hears) = student(&other, &mut events_of_other, "1001").await;
    let (release, stall) = std::sync::mpsc::channel::<()>();
    one.send(SfuCommand::Stall(stall));
    let (flood, socket) = (request(&tag.ufrag()), UdpSocket::bind("127.0.0.1:0").unwrap());
    while port.stats().dropped < 1_000 {
        (0..100).for_each(|_| drop(socket.send_to(&flood, port.local())));
        tokio::task::yield_now().await;
    }
    talk((&other, &mut events_of_other), (&second, &mut second_hears)).await;
    assert_eq!(other.stats().await.unwrap().datagrams_dropped, 0);
    drop(release);
    talk((&one, &mut events_of_one), (&first, &mut first_hears)).await;
    assert!(one.stats().await.unwrap().datagrams_dropped >= 1_000);
    for link in [first, second] {
        link.close().await;
    }
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn the_port_is_free_after_the_last_handle_and_the_last_sfu() {
    let (port, _notices) = bound();
    let address = port.local();
    let (one, _events) = sfu(&port, 1);
    drop(port);
    assert!(UdpSocket::bind(address).is_err(), "an SFU uses the port");
    one.close().await;
    let freed = async {
        while UdpSocket::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, freed).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let (port, _notices) = bound();
    assert_eq!(MediaPort::bind(port.local(), &[]).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
}

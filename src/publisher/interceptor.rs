//! Connects an [`Uplink`] to the library's chain of interceptors.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use super::PublisherEvent;
use super::orders::EncoderOrder;
use super::uplink::Uplink;

/// An uplink that the interceptor shares with the task that sends frames.
#[derive(Clone)]
pub(super) struct SharedUplink(Arc<Mutex<Uplink>>);

impl SharedUplink {
    pub(super) fn new(uplink: Uplink) -> Self {
        Self(Arc::new(Mutex::new(uplink)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Uplink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the orders to the encoders on. One that finds no room waits.
    pub(super) fn pass_orders(&self, events: &mpsc::Sender<PublisherEvent>) {
        let mut uplink = self.lock();
        while let Ok(room) = events.try_reserve() {
            let Some(order) = uplink.next_order() else { return };
            room.send(match order {
                EncoderOrder::Active(encodings) => PublisherEvent::Encodings(encodings),
                EncoderOrder::KeyFrame(encoding) => PublisherEvent::KeyFrameNeeded(encoding),
            });
        }
    }
}

/// The interceptor: closest to the wire, so that sender reports and RTP pass here last.
pub(super) struct UplinkInterceptor {
    uplink: SharedUplink,
    events: mpsc::Sender<PublisherEvent>,
    inbound: VecDeque<TaggedPacket>,
    /// RTCP of ours.
    outbound: VecDeque<TaggedPacket>,
    /// The time of the last call.
    now: Option<Instant>,
}

impl UplinkInterceptor {
    pub(super) fn new(uplink: SharedUplink, events: mpsc::Sender<PublisherEvent>) -> Self {
        Self { uplink, events, inbound: VecDeque::new(), outbound: VecDeque::new(), now: None }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for UplinkInterceptor {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.now = Some(packet.now);
        if let Packet::Rtcp(packets) = &packet.message.packet {
            let compound = rtc::rtcp::packet::marshal(packets).unwrap_or_default();
            self.uplink.lock().on_rtcp(packet.now, &compound);
            self.uplink.pass_orders(&self.events);
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.now = Some(packet.now);
        match packet.message.packet {
            Packet::Rtp(rtp) => self.uplink.lock().on_packet(packet.now, rtp),
            _ => self.outbound.push_back(packet),
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front().or_else(|| {
            let packet = self.uplink.lock().next_packet()?;
            let message = AttributedPacket::new(Packet::Rtp(packet));
            Some(TaggedPacket { now: self.now?, transport: TransportContext::default(), message })
        })
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.now = Some(now);
        self.uplink.lock().on_timeout(now);
        self.uplink.pass_orders(&self.events);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.uplink.lock().deadline()
    }
}

impl Interceptor for UplinkInterceptor {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

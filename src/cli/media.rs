//! The flags of a server that carries the media of rooms.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use clap::Args;

use super::conflict::Conflict;
use super::ice_tcp::TypedIceTcp;
use super::meaning::ServeMedia;
use super::values;
use crate::protocol::MAX_MEDIA_ROOMS;

/// The media of rooms whose publisher is a browser or another program.
#[derive(Debug, Args)]
#[command(next_help_heading = "Media")]
pub(super) struct TypedServeMedia {
    /// Carry no media: only `classroom teach` can teach then
    #[arg(long)]
    no_media: bool,

    /// The UDP port for the media of all rooms [default: the port number of --listen]
    #[arg(long, value_name = "PORT", alias = "udp", hide_short_help = true)]
    udp_port: Option<u16>,

    /// Carry the media of at most this many rooms at the same time [default: 16]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_media_rooms: Option<NonZeroUsize>,

    /// Send the media of a room to at most this many students [default: no limit]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_students: Option<NonZeroUsize>,

    /// Students that the teacher can bring on the stage of a room at the same time, from 0 to 4 [default: 2]
    #[arg(long, value_name = "N", value_parser = values::speakers)]
    stage: Option<usize>,

    /// The number of threads that send, for each room and each speaker; one serves several hundred students
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = values::workers, hide_short_help = true)]
    workers: Option<NonZeroUsize>,

    /// Also tell teachers and students this IP address, if your router forwards the UDP port to this computer
    #[arg(long, value_name = "IP", hide_short_help = true)]
    advertise: Vec<IpAddr>,

    #[command(flatten)]
    ice_tcp: TypedIceTcp,
}

impl TypedServeMedia {
    /// `listen_port` is the TCP port of the server.
    pub(super) fn convert(self, listen_port: u16) -> Result<Option<ServeMedia>, Conflict> {
        if self.no_media {
            return self.first_flag().map_or(Ok(None), |flag| Err(Conflict::MediaFlagWithoutMedia(flag)));
        }
        let default_rooms = NonZeroUsize::new(MAX_MEDIA_ROOMS).unwrap_or(NonZeroUsize::MIN);
        Ok(Some(ServeMedia {
            udp_port: self.udp_port.unwrap_or(listen_port),
            max_rooms: self.max_media_rooms.unwrap_or(default_rooms),
            max_students: self.max_students,
            stage: self.stage.unwrap_or(values::DEFAULT_SPEAKERS),
            workers: self.workers.unwrap_or(NonZeroUsize::MIN),
            advertise: self.advertise,
            ice_tcp: self.ice_tcp.convert(),
        }))
    }

    /// The first flag that was typed and needs media.
    fn first_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--udp-port", self.udp_port.is_some()),
            ("--max-media-rooms", self.max_media_rooms.is_some()),
            ("--max-students", self.max_students.is_some()),
            ("--stage", self.stage.is_some()),
            ("--workers", self.workers.is_some()),
            ("--advertise", !self.advertise.is_empty()),
            ("--ice-tcp", self.ice_tcp.is_typed()),
        ];
        flags.into_iter().find(|(_, is_typed)| *is_typed).map(|(flag, _)| flag)
    }
}

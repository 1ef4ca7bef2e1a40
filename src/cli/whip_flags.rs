//! The flags of `teach` about WHIP servers that get the lecture as well.

use std::ffi::OsString;

use clap::Args;

use super::conflict::Conflict;
use super::secrets::Secret;
use super::whip_out::{WhipOut, WhipTarget, WhipToken, WhipVideo};
use crate::http::whip_client::Bearer;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedWhipOut {
    /// Also send the lecture to this WHIP server, such as MediaMTX; may be repeated
    ///
    /// It gets the sound and one video. A server that is away, or slow, costs the class nothing: teach tries again
    /// until the end. docs/engines.md has examples.
    #[arg(long, value_name = "URL", hide_short_help = true)]
    whip: Vec<Secret>,

    /// The file whose first line is the bearer token for --whip; with several --whip, once for each, '' for none
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    whip_token_file: Vec<OsString>,

    /// The bearer token for --whip itself, which others on this computer can read in the list of processes
    #[arg(long, value_name = "TOKEN", env = "CLASSROOM_WHIP_TOKEN", hide_env_values = true, hide_short_help = true)]
    whip_token: Vec<Secret>,

    /// The video for --whip: screen, camera, or both for a server that takes two [default: the screen if there is one]
    #[arg(long, value_name = "VIDEO", value_parser = whip_video, hide_short_help = true)]
    whip_video: Option<WhipVideo>,

    /// Send all tiers of the video to --whip at the same time, for a server that chooses among them (simulcast)
    #[arg(long, hide_short_help = true)]
    whip_simulcast: bool,
}

impl TypedWhipOut {
    /// The first flag that only makes sense with `--whip`.
    fn first_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--whip-token-file", !self.whip_token_file.is_empty()),
            ("--whip-video", self.whip_video.is_some()),
            ("--whip-simulcast", self.whip_simulcast),
        ];
        flags.into_iter().find(|(_, is_typed)| *is_typed).map(|(flag, _)| flag)
    }

    /// Whether there is a server.
    pub(super) fn is_typed(&self) -> bool {
        !self.whip.is_empty()
    }

    pub(super) fn convert(self) -> Result<WhipOut, Conflict> {
        let video = self.whip_video.unwrap_or_default();
        let servers = self.whip.len();
        if servers == 0 {
            // A token of the environment waits for a server.
            return self.first_flag().map_or(Ok(WhipOut::default()), |flag| Err(Conflict::WhipFlagWithoutServer(flag)));
        }
        let files = self.whip_token_file.into_iter().map(|path| {
            let is_given = !path.is_empty();
            Ok(is_given.then(|| WhipToken::File(path.into())))
        });
        let given = self.whip_token.into_iter().map(|secret| {
            let bearer = secret.given().map(|secret| Bearer::new(secret.as_str())).transpose();
            bearer.map(|bearer| bearer.map(WhipToken::Given)).map_err(Conflict::WhipToken)
        });
        // A typed file overrules the environment.
        let mut tokens = files.collect::<Result<Vec<Option<WhipToken>>, Conflict>>()?;
        if tokens.is_empty() {
            tokens = given.collect::<Result<_, _>>()?;
        }
        if tokens.is_empty() {
            tokens = vec![None; servers];
        }
        if tokens.len() != servers {
            return Err(Conflict::WhipTokens { servers, tokens: tokens.len() });
        }
        let target = |(url, token): (Secret, _)| {
            let url = url.as_str().parse().map_err(Conflict::WhipUrl)?;
            Ok(WhipTarget { url, token })
        };
        let targets = self.whip.into_iter().zip(tokens).map(target).collect::<Result<_, Conflict>>()?;
        Ok(WhipOut { targets, video, simulcast: self.whip_simulcast })
    }
}

/// Parses `screen`, `camera` or `both`.
fn whip_video(text: &str) -> Result<WhipVideo, String> {
    match text.to_ascii_lowercase().as_str() {
        "screen" => Ok(WhipVideo::Screen),
        "camera" => Ok(WhipVideo::Camera),
        "both" => Ok(WhipVideo::Both),
        _ => Err("is not a video for WHIP, give screen, camera or both".into()),
    }
}

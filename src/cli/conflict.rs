//! Flags that contradict each other, with the next step.

use super::values::Bitrate;
use crate::access::SecretError;
use crate::http::whip_client::WhipUrlError;
use crate::media::Size;
use crate::signal::ServerUrl;
use crate::store::RedisUrlError;

/// Flags that are valid alone and contradict each other together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    #[error("--server uses another server, but --listen runs one here: remove one of the two flags")]
    ServerAndListen,
    #[error(
        "--server uses another server, but --tls is for the one that runs here: remove --tls, and start that server \
         with it"
    )]
    TlsForAnotherServer,
    #[error("{0} is about another server: add --server wss://HOST:PORT, or remove {0}")]
    TrustWithoutServer(&'static str),
    #[error("{0} is about several servers that share their rooms: add --redis redis://HOST:6379, or remove {0}")]
    NodeWithoutRedis(&'static str),
    #[error(
        "--edge gets lectures from another server: add --redis redis://HOST:6379, or --origin wss://HOST:PORT with \
         --edge-secret-file FILE"
    )]
    EdgeOfNobody,
    #[error("--origin is about an edge without Redis: add {0}")]
    OriginWithout(&'static str),
    #[error("{0} is about edges without Redis: remove it, or --redis")]
    EdgesOfRedis(&'static str),
    #[error("--edge sends media, and --no-media sends none: remove one of the two flags")]
    EdgeWithoutMedia,
    #[error("can't use --redis: {0}")]
    Redis(RedisUrlError),
    #[error("{0} needs TLS: write --server {1}, or remove {0}")]
    TrustWithoutTls(&'static str, ServerUrl),
    #[error("{0} is about speaking on the stage: add --may-speak, or remove {0}")]
    SpeakingFlagWithoutConsent(&'static str),
    #[error("--may-speak needs a camera or a microphone: remove --camera=none or --mic=none, or add --screen")]
    NothingToSpeakWith,
    #[error("--to calls somebody, and --answer waits for calls: give one of the two flags")]
    ToOrAnswer,
    #[error("--once ends after the first call that --answer takes: add --answer, or remove --once")]
    OnceWithoutAnswer,
    #[error("{0} is about a lecture from a file: add --lecture FILE.toml, or remove {0}")]
    WithoutLecture(&'static str),
    #[error("{0} and {1} can't be used together: remove one of the two flags")]
    TwoSources(&'static str, &'static str),
    #[error("--no-media carries no media, but {0} is about media: remove one of the two flags")]
    MediaFlagWithoutMedia(&'static str),
    #[error("--loop repeats files, but there is no file: add --file PATH")]
    LoopWithoutFile,
    #[error("--still needs a picture file: add --file PATH")]
    StillWithoutFile,
    #[error("--mic turns sound on, but --no-audio turns it off: remove one of the two flags")]
    MicWithoutAudio,
    #[error(
        "{0} has no effect on --whip-in, which gets encoded pictures: remove {0} and change the encoder's settings"
    )]
    WhipEncodes(&'static str),
    #[error("--janus sends what this computer encodes, but --whip-in gets encoded media: remove one of the two flags")]
    JanusOfWhipIn,
    #[error("--whip sends what this computer encodes, but --whip-in gets encoded media: remove one of the two flags")]
    WhipOutOfWhipIn,
    #[error("{0} is about a WHIP server: add --whip URL, or remove {0}")]
    WhipFlagWithoutServer(&'static str),
    #[error("there are {servers} --whip and {tokens} tokens for them: give a token for each, '' for none")]
    WhipTokens { servers: usize, tokens: usize },
    #[error("--whip {0}")]
    WhipUrl(WhipUrlError),
    #[error("--whip-token {0}")]
    WhipToken(WhipUrlError),
    #[error("{0} has no effect on --pipeline, which has its own encoders: remove {0} and change the pipeline file")]
    PipelineEncodes(&'static str),
    #[error(
        "the low tier needs a lower bit rate than the full tier, but --tiers low={0} is above --bitrate {1}: lower it"
    )]
    LowAboveFull(String, Bitrate),
    #[error("--fullscreen needs a window, but --sink is {0}: remove one of the two flags")]
    FullscreenWithoutWindow(String),
    #[error(
        "--turn is for the built-in server, but --server uses another server: start that server with --turn instead"
    )]
    TurnForAnotherServer,
    #[error(
        "--via places students of the built-in server, but --server uses another server: start that server with \
         classroom serve --via instead, or remove --server"
    )]
    ViaOfAnotherServer,
    #[error("{0} is about a Janus server: add --janus ws://HOST:8188, or remove {0}")]
    JanusFlagWithoutJanus(&'static str),
    #[error(
        "{0} is about a classroom server, but --janus watches a room of a Janus server: remove one of the two flags"
    )]
    NotWithJanus(&'static str),
    #[error("--turn without a URL starts the TURN server in this program: give it once")]
    TwoOwnTurnServers,
    #[error("--token is for another server, but there is none: add --server URL, or remove --token")]
    TokenWithoutServer,
    #[error("{0} can't be used: {1}")]
    Secret(&'static str, SecretError),
    #[error("a token needs a key: add --auth FILE, or --private-key FILE and --key ID")]
    TokenWithoutKey,
    #[error("--private-key needs the id by which the server knows the key: add --key ID")]
    PrivateKeyWithoutId,
    #[error("--alg is for a new key: add --new-key ID, or remove --alg")]
    AlgorithmWithoutNewKey,
    #[error("--new-key needs the file to add the key to: add --auth FILE")]
    NewKeyWithoutFile,
    #[error("a key of EdDSA has a private part, which the server does not need: add --private-key FILE to write it to")]
    KeyPairWithoutFile,
    #[error("a key of HS256 has no private part: remove --private-key, or add --alg EdDSA")]
    PrivateKeyOfSecret,
    #[error("{0} is for the built-in server, but --server uses another server: start that server with {0} instead")]
    SiteOfAnotherServer(&'static str),
    #[error("{0} needs a TURN server: add --turn turn:HOST:PORT")]
    LoginWithoutTurn(&'static str),
    #[error("{0} only works with a bad network or --glass: add --glass or, for example, --loss 5%")]
    BenchWithoutPictures(&'static str),
    #[error("{0} needs a limited bit rate: add --rate, for example --rate 600k")]
    NoRate(&'static str),
    #[error("--rate-until must be later than --rate-from: give a later time")]
    FastBeforeSlow,
    #[error("--bad needs a bad network: add, for example, --loss 5%")]
    NothingBad,
    #[error("--bad is about students, whose networks are perfect with --ingest: remove --bad")]
    BadWithIngest,
    #[error("--bad {0} is more than --students {1}: change one of the two numbers")]
    MoreBadThanStudents(usize, usize),
    #[error("--size {0} is too small for the code that bench draws: give a width of 640 pixels or more")]
    TooSmallForCodes(Size),
    #[error(
        "--turn {0} has no user name and password: write turn:USER:PASS@HOST:PORT, or add --turn-user and --turn-pass \
         (for a server of your own, --turn-secret)"
    )]
    TurnWithoutLogin(String),
}

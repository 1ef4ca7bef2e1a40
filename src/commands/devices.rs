//! `classroom devices`: lists the sources, the encoders and the outputs of this computer.

use serde_json::{Value, json};

use super::blocking;
use crate::exit::Failure;
use crate::media::{self, Devices, MediaError, Source, Verdict};
use crate::report::Reporter;

/// Prints the devices, and tests every encoder.
pub(super) async fn run(reporter: &Reporter) -> Result<(), Failure> {
    let devices = blocking(media::devices).await??;
    if reporter.is_json() {
        reporter.result_object(&object(&devices));
    } else {
        reporter.result(text(&devices).trim_end());
    }
    Ok(())
}

fn text(devices: &Devices) -> String {
    let mut text = String::new();
    let mut section = |title: &str, flag: &str, sources: &[Source], none: &str| {
        text += &format!("{title}\n");
        for source in sources {
            let value = if source.name.is_empty() { flag.to_owned() } else { format!("{flag}={}", source.name) };
            text += &format!("  {value:<28} {}\n", source.label);
        }
        if sources.is_empty() {
            text += &format!("  {none}\n");
        }
    };
    section("screens", "--screen", &devices.screens, "none: neither $DISPLAY nor $WAYLAND_DISPLAY is set");
    section("cameras", "--camera", &devices.cameras, "none: no /dev/video* device captures video");
    section("microphones", "--mic", &devices.microphones, "none: no sound server and no ALSA card with an input");
    text += "encoders (teach uses the first that works)\n";
    for encoder in &devices.encoders {
        let verdict = match &encoder.verdict {
            Verdict::Works => "works".to_owned(),
            // GStreamer hides hardware encoders for which it finds no device, whether or not the package is installed.
            Verdict::Missing { package } if !matches!(encoder.label, "x264" | "OpenH264" | "libvpx") => {
                format!("not available: no such hardware or driver, or package {package} is not installed")
            }
            Verdict::Missing { package } => format!("not installed (package {package})"),
            Verdict::Fails { cause } => format!("does not work: {cause}"),
        };
        text +=
            &format!("  {:<6} {:<14} {:<18} {verdict}\n", encoder.codec.to_string(), encoder.element, encoder.label);
    }
    let window = match &devices.window {
        Ok(element) => (*element).to_owned(),
        Err(MediaError::Device { cause, .. }) => format!("none: {cause}"),
        Err(error) => format!("none: {error}"),
    };
    let sound = devices.loudspeaker.unwrap_or("none: no sound card");
    text + &format!("to watch\n  window  {window}\n  sound   {sound}\n")
}

fn object(devices: &Devices) -> Value {
    let sources = |all: &[Source]| -> Vec<Value> {
        all.iter().map(|source| json!({ "name": source.name, "label": source.label })).collect()
    };
    let encoders: Vec<Value> = devices
        .encoders
        .iter()
        .map(|encoder| {
            let why_not = match &encoder.verdict {
                Verdict::Works => None,
                Verdict::Missing { package } => Some(format!("not installed: {package}")),
                Verdict::Fails { cause } => Some(cause.clone()),
            };
            json!({ "codec": encoder.codec, "element": encoder.element, "works": why_not.is_none(), "whyNot": why_not })
        })
        .collect();
    json!({
        "screens": sources(&devices.screens),
        "cameras": sources(&devices.cameras),
        "microphones": sources(&devices.microphones),
        "encoders": encoders,
        "window": devices.window.as_ref().ok(),
        "loudspeaker": devices.loudspeaker,
    })
}

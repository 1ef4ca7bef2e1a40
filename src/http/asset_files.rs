//! The page's files, as they are compiled in: which visits need them, and their types.

pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const SVG: &str = "image/svg+xml";
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// The name of a file, its type, and its content.
pub(super) type Named = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($name:literal: $content_type:expr,)*) => {
        [$(($name, $content_type, include_str!(concat!("page/", $name)))),*]
    };
}

/// The files of each visit, except the HTML: name, type, content.
pub(super) const FILES: &[Named] = &files! {
    "card.js": JAVASCRIPT,
    "chat.js": JAVASCRIPT,
    "chinese.js": JAVASCRIPT,
    "controls.css": CSS,
    "controls.js": JAVASCRIPT,
    "corner.js": JAVASCRIPT,
    "danmaku.js": JAVASCRIPT,
    "dom.js": JAVASCRIPT,
    "english.js": JAVASCRIPT,
    "favicon.svg": SVG,
    "i18n.js": JAVASCRIPT,
    "identity.js": JAVASCRIPT,
    "layout.js": JAVASCRIPT,
    "lesson.js": JAVASCRIPT,
    "main.js": JAVASCRIPT,
    "media.js": JAVASCRIPT,
    "negotiation.js": JAVASCRIPT,
    "panel.js": JAVASCRIPT,
    "peer.js": JAVASCRIPT,
    "people.js": JAVASCRIPT,
    "room.js": JAVASCRIPT,
    "rooms.js": JAVASCRIPT,
    "signalling.js": JAVASCRIPT,
    "stats.js": JAVASCRIPT,
    "style.css": CSS,
    "views.js": JAVASCRIPT,
};

/// The files of parts that a student's page loads when they are needed: for those who moderate, for a lecture with
/// speakers, for a student who speaks, and for the list of rooms. Without the server they are of no use, so the service
/// worker does not cache them.
pub(super) const PART_FILES: &[Named] = &files! {
    "boxes.css": CSS,
    "broadcast.js": JAVASCRIPT,
    "camera_blur.js": JAVASCRIPT,
    "device.css": CSS,
    "device.html": HTML,
    "device.js": JAVASCRIPT,
    "device_chinese.js": JAVASCRIPT,
    "device_english.js": JAVASCRIPT,
    "devices.css": CSS,
    "devices.html": HTML,
    "devices.js": JAVASCRIPT,
    "devices_chinese.js": JAVASCRIPT,
    "devices_english.js": JAVASCRIPT,
    "encodings.js": JAVASCRIPT,
    "engine.js": JAVASCRIPT,
    "invitation.js": JAVASCRIPT,
    "kept_buttons.js": JAVASCRIPT,
    "new_room.css": CSS,
    "new_room.html": HTML,
    "new_room.js": JAVASCRIPT,
    "new_room_chinese.js": JAVASCRIPT,
    "new_room_english.js": JAVASCRIPT,
    "order.js": JAVASCRIPT,
    "orders.css": CSS,
    "orders_chinese.js": JAVASCRIPT,
    "orders_english.js": JAVASCRIPT,
    "path.js": JAVASCRIPT,
    "path_chinese.js": JAVASCRIPT,
    "path_english.js": JAVASCRIPT,
    "pin.js": JAVASCRIPT,
    "publisher.js": JAVASCRIPT,
    "sound.js": JAVASCRIPT,
    "sources.js": JAVASCRIPT,
    "speaker.css": CSS,
    "speaker.html": HTML,
    "speaker.js": JAVASCRIPT,
    "stage.css": CSS,
    "stage.js": JAVASCRIPT,
    "stage_chinese.js": JAVASCRIPT,
    "stage_english.js": JAVASCRIPT,
    "stage_orders.js": JAVASCRIPT,
    "student_stage.js": JAVASCRIPT,
    "studio.js": JAVASCRIPT,
    "tile.js": JAVASCRIPT,
    "tiles.js": JAVASCRIPT,
    "uplink.js": JAVASCRIPT,
    "viewing.js": JAVASCRIPT,
};

/// The files for those who teach from a browser. The service worker does not cache them.
pub(super) const TEACHER_FILES: &[Named] = &files! {
    "desk.js": JAVASCRIPT,
    "device_invitation.js": JAVASCRIPT,
    "invite.js": JAVASCRIPT,
    "notices.js": JAVASCRIPT,
    "setup.js": JAVASCRIPT,
    "teach.css": CSS,
    "teach.html": HTML,
    "teach.js": JAVASCRIPT,
    "teach_breakouts.js": JAVASCRIPT,
    "teach_chinese.js": JAVASCRIPT,
    "teach_english.js": JAVASCRIPT,
    "teach_stage.js": JAVASCRIPT,
};

/// The files of rooms for meetings and calls. The service worker does not cache them.
pub(super) const CONFERENCE_FILES: &[Named] = &files! {
    "arrange.js": JAVASCRIPT,
    "breakout_rules.js": JAVASCRIPT,
    "breakout_media.js": JAVASCRIPT,
    "breakouts.css": CSS,
    "breakouts.html": HTML,
    "breakouts.js": JAVASCRIPT,
    "breakouts_chinese.js": JAVASCRIPT,
    "breakouts_english.js": JAVASCRIPT,
    "call_rules.js": JAVASCRIPT,
    "call_view.js": JAVASCRIPT,
    "conference.css": CSS,
    "conference.html": HTML,
    "conference.js": JAVASCRIPT,
    "conference_chinese.js": JAVASCRIPT,
    "conference_english.js": JAVASCRIPT,
    "conference_media.js": JAVASCRIPT,
    "conference_room.js": JAVASCRIPT,
    "conference_signalling.js": JAVASCRIPT,
    "file_pace.js": JAVASCRIPT,
    "file_rules.js": JAVASCRIPT,
    "file_server.js": JAVASCRIPT,
    "file_transfer.js": JAVASCRIPT,
    "files.css": CSS,
    "files.js": JAVASCRIPT,
    "files_chinese.js": JAVASCRIPT,
    "files_english.js": JAVASCRIPT,
    "files_view.js": JAVASCRIPT,
    "grid.js": JAVASCRIPT,
    "lecture_breakouts.css": CSS,
    "lecture_breakouts.html": HTML,
    "lecture_breakouts.js": JAVASCRIPT,
    "lecture_chat.js": JAVASCRIPT,
    "meeting_rules.js": JAVASCRIPT,
    "meeting_view.js": JAVASCRIPT,
    "mesh.js": JAVASCRIPT,
    "overload.js": JAVASCRIPT,
    "own_media.js": JAVASCRIPT,
    "own_tracks.js": JAVASCRIPT,
    "owner.js": JAVASCRIPT,
    "pair.js": JAVASCRIPT,
    "pair_stats.js": JAVASCRIPT,
    "perfect_negotiation.js": JAVASCRIPT,
    "recipients.js": JAVASCRIPT,
    "ring_tone.js": JAVASCRIPT,
    "ringing.js": JAVASCRIPT,
    "server_media.js": JAVASCRIPT,
    "spotlight.js": JAVASCRIPT,
    "spotlight_view.js": JAVASCRIPT,
    "sounds.js": JAVASCRIPT,
    "talk_channel.js": JAVASCRIPT,
};

//! Firefox on a student's machine: always VP8, H.264 only with a plug-in that Firefox downloads.

use super::driver::Kind;
use super::lab::Lab;

#[test]
fn firefox_plays_vp8() {
    let Some(lab) = Lab::new("Firefox", Kind::Firefox) else { return };
    let mut teacher = lab.lecturer(&["--codec", "vp8"]);
    let anna = lab.enters(2001, "Anna");
    anna.screen_is("live");
    anna.sees_the_lecture();
    // A page with permission to use the microphone, as in these tests, may also play sound.
    anna.hears_the_lecture();
    teacher.types("hello Firefox");
    anna.reads("Ms Li", "hello Firefox");
    anna.says("hello teacher");
    teacher.wait_for("the greeting", super::lab::said("2001", "hello teacher"));
}

#[test]
fn firefox_plays_vp8_in_a_class_of_h264() {
    let Some(lab) = Lab::new("Firefox without H.264", Kind::Firefox) else { return };
    let teacher = lab.lecturer(&["--codec", "h264"]);
    let anna = lab.enters(2001, "Anna");
    anna.screen_is("live");
    anna.sees_the_lecture();
    anna.says("it works here, too");
    teacher.wait_for("the word", super::lab::said("2001", "it works here, too"));
}

#[test]
fn firefox_explains_that_no_codec_is_common() {
    let Some(lab) = Lab::new("Firefox and a pipeline of H.264 alone", Kind::Firefox) else { return };
    let _teacher = lab.lecturer_with_h264_alone();
    let anna = lab.enters(2001, "Anna");
    anna.screen_is("error");
    anna.shows("This browser cannot show the lecture");
    anna.shows("The lecture is sent as H.264, which this browser cannot play.");
    anna.shows("about:addons");
    anna.shows("ask the teacher to send VP8");
}

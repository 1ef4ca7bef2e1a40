//! The slides of a PDF document, with the real program.

use std::process::Stdio;

use serde_json::Value as Event;

use crate::support::{Classroom, Process, is_picture};

/// A PDF document with a page in each of these colours.
pub fn document(colours: &[&str]) -> String {
    let kids: Vec<String> = (0..colours.len()).map(|index| format!("{} 0 R", 10 + 2 * index)).collect();
    let mut text = format!(
        "%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n\
         2 0 obj <</Type/Pages/Count {}/Kids[{}]/MediaBox[0 0 320 180]>> endobj\n",
        colours.len(),
        kids.join(" "),
    );
    for (index, colour) in colours.iter().enumerate() {
        let (page, stream, content) = (10 + 2 * index, 11 + 2 * index, format!("{colour} rg 0 0 320 180 re f"));
        text += &format!(
            "{page} 0 obj <</Type/Page/Parent 2 0 R/Resources<<>>/Contents {stream} 0 R>> endobj\n\
             {stream} 0 obj <</Length {}>> stream\n{content}\nendstream endobj\n",
            content.len(),
        );
    }
    text + "trailer <</Root 1 0 R>>\n%%EOF\n"
}

fn slide(page: u32, black: bool) -> impl Fn(&Event) -> bool {
    move |event| event["event"] == "slide" && event["page"] == page && event["black"] == black
}

#[test]
fn a_teacher_turns_the_pages_of_a_document() {
    let class = Classroom::new();
    let deck = class.directory().join("deck.pdf");
    std::fs::write(&deck, document(&["1 0 0", "0 1 0", "0 0 1"])).unwrap();
    let listen = class.url().replace("ws://", "");
    let flags = ["--slides", deck.to_str().unwrap(), "--size", "320x180", "--no-audio", "--chat", "--listen", &listen];
    let mut command = class.teach(&flags);
    command.stdin(Stdio::piped());
    let mut teacher = Process::start("teacher", command);
    let first = teacher.wait_for("the first page", slide(1, false));
    assert_eq!((&first["pages"], &first["notes"]), (&3.into(), &"".into()));
    let student = class.student(1001, &[]);
    student.wait_for("a picture", is_picture);
    let size = |event: &Event| event["event"] == "stats" && event["width"] == 320 && event["height"] == 180;
    student.wait_for("a picture of the size", size);
    for (typed, page, black) in
        [("/next", 2, false), ("/black", 2, true), ("/page last", 3, false), ("/prev", 2, false), ("/page 1", 1, false)]
    {
        let mark = teacher.mark();
        teacher.types(typed);
        teacher.wait_since(mark, crate::support::DEADLINE, typed, slide(page, black));
    }
    for (typed, words) in
        [("/page 4", "pages 1 to 3"), ("/prev", "the first page"), ("/page x", "the number of a slide")]
    {
        teacher.types(typed);
        let says = |event: &Event| event["message"].as_str().is_some_and(|message| message.contains(words));
        teacher.wait_for(words, says);
    }
    let mark = student.mark();
    student.wait_since(mark, crate::support::DEADLINE, "pictures go on", is_picture);
}

#[test]
fn what_is_no_document_is_refused_before_anything_connects() {
    let class = Classroom::new();
    let path = class.directory().join("deck.pdf");
    std::fs::write(&path, "%PDF-1.7\nno document").unwrap();
    let mut teacher = Process::start("teacher", class.teach(&["--slides", path.to_str().unwrap()]));
    let stderr = teacher.ends_with(2);
    assert!(stderr.contains("deck.pdf") && stderr.contains("no PDF document"), "{stderr}");
    let events = teacher.events();
    assert!(events.iter().all(|event| event["event"] == "ended"), "{events:?}");
}

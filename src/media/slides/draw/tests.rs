use std::io::Cursor;

use super::*;

/// A PDF document with a page per content stream, each 160 units wide and 90 high. Page 2 has a comment. The document
/// has no table of its objects, so the reader has to look for them.
fn pdf(contents: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..contents.len()).map(|index| format!("{} 0 R", 10 + 2 * index)).collect();
    let mut text = format!(
        "%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n\
         2 0 obj <</Type/Pages/Count {}/Kids[{}]/MediaBox[0 0 160 90]>> endobj\n\
         3 0 obj <</Type/Annot/Subtype/Text/Rect[0 0 9 9]/Contents(\\376\\377\\000S\\000a\\000y\\000 \\040\\254)>> \
         endobj\n",
        contents.len(),
        kids.join(" "),
    );
    for (index, content) in contents.iter().enumerate() {
        let (page, stream) = (10 + 2 * index, 11 + 2 * index);
        let notes = if index == 1 { "/Annots[3 0 R]" } else { "" };
        text += &format!(
            "{page} 0 obj <</Type/Page/Parent 2 0 R/Resources<<>>/Contents {stream} 0 R{notes}>> endobj\n\
             {stream} 0 obj <</Length {}>> stream\n{content}\nendstream endobj\n",
            content.len(),
        );
    }
    text += "trailer <</Root 1 0 R>>\n%%EOF\n";
    text.into_bytes()
}

/// The answers of the process to some requests: the first line, and then a line with a picture for each.
fn answers(document: &[u8], requests: &[(usize, Size)]) -> (Answer<Document>, Vec<Result<Vec<u8>, String>>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(document).unwrap();
    let text: String = requests.iter().map(|(index, size)| request(*index, *size)).collect();
    let mut out = Vec::new();
    answer(file.path(), Cursor::new(text), &mut out).unwrap();
    let mut out = Cursor::new(out);
    let line = |out: &mut Cursor<Vec<u8>>| {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    let opened = serde_json::from_str(&line(&mut out)).unwrap();
    let mut pictures = Vec::new();
    for (_, size) in requests {
        let text = line(&mut out);
        if text.is_empty() {
            break;
        }
        pictures.push(match serde_json::from_str(&text).unwrap() {
            Answer::Done(()) => {
                let mut picture = vec![0; (size.width * size.height * 4) as usize];
                std::io::Read::read_exact(&mut out, &mut picture).unwrap();
                Ok(picture)
            }
            Answer::Failed(cause) => Err(cause),
        });
    }
    (opened, pictures)
}

fn cause<T>(answer: Answer<T>) -> String {
    match answer {
        Answer::Done(_) => panic!("opened"),
        Answer::Failed(cause) => cause,
    }
}

const WIDE: Size = Size { width: 320, height: 180 };

#[test]
fn pages_are_drawn_into_the_middle_of_the_picture() {
    let document = pdf(&["1 0 0 rg 0 0 160 90 re f", "0 0 1 rg 0 0 80 90 re f"]);
    let square = Size { width: 160, height: 160 };
    let (opened, pictures) = answers(&document, &[(0, WIDE), (1, WIDE), (0, square), (7, WIDE)]);
    let Answer::Done(opened) = opened else { panic!("{opened:?}") };
    assert_eq!(opened, Document { shape: (160.0, 90.0), notes: vec![String::new(), "Say €".into()] });
    let pixel = |index: usize, size: Size, x: u32, y: u32| {
        let at = (4 * (y * size.width + x)) as usize;
        let picture: &Vec<u8> = pictures[index].as_ref().unwrap();
        <[u8; 4]>::try_from(&picture[at..at + 4]).unwrap()
    };
    let (red, blue, white, black) = ([255, 0, 0, 255], [0, 0, 255, 255], [255; 4], [0, 0, 0, 255]);
    assert_eq!([pixel(0, WIDE, 1, 1), pixel(0, WIDE, 318, 178)], [red, red]);
    assert_eq!([pixel(1, WIDE, 10, 90), pixel(1, WIDE, 300, 90)], [blue, white], "paper is white");
    assert_eq!([pixel(2, square, 80, 5), pixel(2, square, 80, 80), pixel(2, square, 80, 155)], [black, red, black]);
    assert_eq!(pictures[3], Err("there is no such page".into()));
}

#[test]
fn what_is_no_document_is_refused_with_the_cause() {
    for bytes in [&b""[..], b"hello", b"%PDF-1.7\n", b"%PDF-1.7\ntrailer <</Root 1 0 R>>\n%%EOF\n"] {
        let (opened, pictures) = answers(bytes, &[(0, WIDE)]);
        let cause = cause(opened);
        assert!(cause.contains("no PDF document") || cause.contains("no page"), "{cause}");
        assert!(pictures.is_empty());
    }
}

#[test]
fn a_page_without_a_usable_size_is_refused_and_the_others_are_drawn() {
    for shape in ["0 0 0 0", "0 0 1000000000 1", "0 0 90000 1", "1 1 1 1"] {
        let text = String::from_utf8(pdf(&["", ""])).unwrap();
        let own = format!("10 0 obj <</MediaBox[{shape}]");
        let (opened, pictures) = answers(text.replace("10 0 obj <<", &own).as_bytes(), &[(0, WIDE), (1, WIDE)]);
        assert!(matches!(opened, Answer::Done(_)), "{opened:?}");
        // The reader replaces some impossible sizes by that of letter paper.
        assert!(pictures[0].as_ref().is_ok_and(|picture| picture.len() == 320 * 180 * 4) || pictures[0].is_err());
        assert!(pictures[1].is_ok(), "{shape}");
    }
}

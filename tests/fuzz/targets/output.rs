//! What is printed for people.

use alertloop::finding::{printable, printable_lines};

/// Whatever others wrote, it neither steers a terminal nor begins a line nor turns text around.
pub fn printed(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let line = printable(&text);
    assert!(!line.contains(steers), "{line:?}");
    let lines = printable_lines(&text);
    assert!(!lines.replace(['\n', '\t'], "").contains(steers), "{lines:?}");
    assert!(lines.lines().count() <= text.lines().count());
}

/// Controls (C0, C1), ends of lines, and what changes the direction of text (UAX 9).
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

//! The alternate screen of a terminal.

use std::io::{self, Write};

use terminal_size::{Height, Width, terminal_size};

/// Switches to the alternate screen and hides the cursor, with xterm sequences, which all terminals
/// know.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";

/// The alternate screen. When this value is dropped, the previous content is shown again.
#[derive(Debug)]
pub(super) struct Terminal(());

impl Terminal {
    pub(super) fn begin() -> io::Result<Self> {
        write(BEGIN)?;
        Ok(Self(()))
    }

    /// Shows lines, cut to the size of the terminal.
    pub(super) fn show(&self, lines: &[String]) -> io::Result<()> {
        let (Width(width), Height(height)) = terminal_size().unwrap_or((Width(80), Height(24)));
        write(&frame(lines, width.into(), height.into()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = write(END); // it may have gone
    }
}

/// Makes a frame: lines from the top left corner, each cleared to its end, and then the rest of the
/// screen cleared.
fn frame(lines: &[String], width: usize, height: usize) -> String {
    let mut frame = String::from("\x1b[H");
    for (at, line) in lines.iter().take(height).enumerate() {
        let line: String = line.chars().take(width).collect();
        let line = match at {
            0 => format!("\x1b[1m{line}\x1b[0m"),
            _ => line,
        };
        if at > 0 {
            frame.push_str("\r\n");
        }
        frame.push_str(&line);
        frame.push_str("\x1b[K");
    }
    frame + "\x1b[J"
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_into_the_terminal() {
        let lines: Vec<String> = ["title", "abcdef", "more"].map(str::to_owned).into();
        let text = "\x1b[H\x1b[1mtitl\x1b[0m\x1b[K\r\nabcd\x1b[K\x1b[J";
        assert_eq!(frame(&lines, 4, 2), text);
    }
}

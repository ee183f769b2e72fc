//! One line of a log file: time, stream, whole or part, text.

/// Which output a container wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// A parsed line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// As the runtime wrote it (RFC 3339 with nanoseconds).
    pub(crate) time: &'a str,
    pub(crate) stream: Stream,
    /// The container ended the line here; otherwise the next one goes on.
    pub(crate) is_whole: bool,
    pub(crate) text: &'a [u8],
}

/// Reads `TIME stdout|stderr F|P TEXT`; none if the line is anything else.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; the first is the one that is defined.
    let is_whole = match parts.next()?.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Line { time, stream, is_whole, text: parts.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let whole = Line { time: "T", stream: Stream::Stdout, is_whole: true, text: b"a b" };
        for (text, expected) in [
            ("T stdout F a b\n", Some(whole)),
            ("T stdout F a b", Some(whole)),
            (
                "T stderr P x",
                Some(Line { stream: Stream::Stderr, is_whole: false, text: b"x", ..whole }),
            ),
            ("T stdout F:y a b", Some(whole)),
            ("T stdout F", Some(Line { text: b"", ..whole })),
            ("T stdin F a", None),
            ("T stdout Q a", None),
            ("T", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}

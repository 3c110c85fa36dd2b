//! Breaks the text of a source file into pieces: words, `::` and signs, without comments and
//! literals.

/// One piece of source text that matters for paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Word(String),
    /// `::`
    Path,
    /// Anything else but white space.
    Sign(char),
}

/// A piece and the line that it is on.
pub(crate) type Placed = (Piece, usize);

/// Breaks source text into pieces; comments and literals are left out.
pub(crate) fn pieces(source: &str) -> Vec<Placed> {
    let text: Vec<char> = source.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let (mut pieces, mut index, mut line) = (Vec::new(), 0, 1);
    while index < text.len() {
        let start = index;
        let here = at(index);
        if here == '/' && at(index + 1) == '/' {
            while index < text.len() && at(index) != '\n' {
                index += 1;
            }
        } else if here == '/' && at(index + 1) == '*' {
            let mut depth = 0;
            loop {
                if at(index) == '/' && at(index + 1) == '*' {
                    depth += 1;
                    index += 2;
                } else if at(index) == '*' && at(index + 1) == '/' {
                    depth -= 1;
                    index += 2;
                } else {
                    index += 1;
                }
                if depth == 0 || index >= text.len() {
                    break;
                }
            }
        } else if here == '"' {
            index = end_of_string(&text, index);
        } else if here == '\'' {
            // A character, unless it is a lifetime: 'a' against 'a.
            if at(index + 1) == '\\' {
                index += 3;
                while index < text.len() && at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            } else if at(index + 2) == '\'' {
                index += 3;
            } else {
                index += 1;
            }
        } else if here.is_alphanumeric() || here == '_' {
            while at(index).is_alphanumeric() || at(index) == '_' {
                index += 1;
            }
            let word: String = text.iter().skip(start).take(index - start).collect();
            let raw = matches!(word.as_str(), "r" | "br" | "cr");
            let hashes = (index..).take_while(|&i| at(i) == '#').count();
            if raw && at(index + hashes) == '"' {
                index = end_of_raw_string(&text, index + hashes + 1, hashes);
            } else {
                pieces.push((Piece::Word(word), line));
            }
        } else if here == ':' && at(index + 1) == ':' {
            pieces.push((Piece::Path, line));
            index += 2;
        } else {
            if !here.is_whitespace() {
                pieces.push((Piece::Sign(here), line));
            }
            index += 1;
        }
        line += text
            .iter()
            .skip(start)
            .take(index - start)
            .filter(|&&character| character == '\n')
            .count();
    }
    pieces
}

fn end_of_string(text: &[char], quote: usize) -> usize {
    let mut index = quote + 1;
    while let Some(&here) = text.get(index) {
        match here {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    index
}

fn end_of_raw_string(text: &[char], content: usize, hashes: usize) -> usize {
    let mut index = content;
    while let Some(&here) = text.get(index) {
        index += 1;
        if here == '"'
            && text.iter().skip(index).take(hashes).filter(|&&sign| sign == '#').count() == hashes
        {
            return index + hashes;
        }
    }
    index
}

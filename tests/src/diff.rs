//! A comparison of expected and received lines.

use std::fmt;

/// A merged list: lines that came as expected, missing lines, and unexpected lines. If a line came
/// in place of another, a mark shows where they begin to differ.
pub(crate) struct Diff<'l> {
    rows: Vec<Row<'l>>,
}

enum Row<'l> {
    Same(&'l str),
    Missing(&'l str),
    Surplus(&'l str),
    /// The expected line, and the line that came in its place.
    Other(&'l str, &'l str),
}

impl<'l> Diff<'l> {
    /// Finds the smallest difference of two lists. `fits(i, j)` is true when the received line `j`
    /// is the expected line `i`.
    pub(crate) fn new(
        expected: &'l [String],
        got: &'l [String],
        fits: impl Fn(usize, usize) -> bool,
    ) -> Self {
        // The length of the longest common subsequence after each pair of positions.
        let mut common = vec![vec![0_usize; got.len() + 1]; expected.len() + 1];
        for i in (0..expected.len()).rev() {
            for j in (0..got.len()).rev() {
                common[i][j] = if fits(i, j) {
                    common[i + 1][j + 1] + 1
                } else {
                    common[i + 1][j].max(common[i][j + 1])
                };
            }
        }
        let (mut rows, mut i, mut j) = (Vec::new(), 0, 0);
        let (mut missing, mut surplus) = (Vec::new(), Vec::new());
        while i < expected.len() || j < got.len() {
            if i < expected.len() && j < got.len() && fits(i, j) {
                pair_up(&mut rows, &mut missing, &mut surplus);
                rows.push(Row::Same(&got[j]));
                (i, j) = (i + 1, j + 1);
            } else if j == got.len() || (i < expected.len() && common[i + 1][j] >= common[i][j + 1])
            {
                missing.push(&*expected[i]);
                i += 1;
            } else {
                surplus.push(&*got[j]);
                j += 1;
            }
        }
        pair_up(&mut rows, &mut missing, &mut surplus);
        Self { rows }
    }

    /// True when exactly the expected lines came.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| matches!(row, Row::Same(_)))
    }
}

/// Pairs missing lines with the unexpected ones that came in their place.
fn pair_up<'l>(rows: &mut Vec<Row<'l>>, missing: &mut Vec<&'l str>, surplus: &mut Vec<&'l str>) {
    let pairs = missing.len().min(surplus.len());
    let others = missing.drain(..pairs).zip(surplus.drain(..pairs));
    rows.extend(others.map(|(expected, got)| Row::Other(expected, got)));
    rows.extend(missing.drain(..).map(Row::Missing));
    rows.extend(surplus.drain(..).map(Row::Surplus));
}

impl fmt::Display for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("  - expected, + got\n")?;
        for row in &self.rows {
            match *row {
                Row::Same(line) => writeln!(f, "    {line}")?,
                Row::Missing(line) => writeln!(f, "  - {line}")?,
                Row::Surplus(line) => writeln!(f, "  + {line}")?,
                Row::Other(expected, got) => {
                    let mut pairs = expected.chars().zip(got.chars());
                    let same = pairs.by_ref().take_while(|(a, b)| a == b).count();
                    writeln!(f, "  - {expected}\n  + {got}\n    {:same$}^", "")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(expected: &[&str], got: &[&str]) -> String {
        let lines = |lines: &[&str]| -> Vec<String> { lines.iter().map(|&l| l.into()).collect() };
        let (expected, got) = (lines(expected), lines(got));
        Diff::new(&expected, &got, |i, j| expected[i] == got[j]).to_string()
    }

    #[test]
    fn lines_that_differ_are_marked_where_they_do() {
        assert_eq!(
            diff(&["a 1", "b x1", "c 1"], &["a 1", "b x2", "c 1"]),
            "  - expected, + got\n    a 1\n  - b x1\n  + b x2\n       ^\n    c 1\n"
        );
        assert_eq!(
            diff(&["a", "b"], &["b", "c"]),
            "  - expected, + got\n  - a\n    b\n  + c\n"
        );
        assert_eq!(diff(&[], &["é"]), "  - expected, + got\n  + é\n");
        assert_eq!(
            diff(&["é1"], &["é"]),
            "  - expected, + got\n  - é1\n  + é\n     ^\n"
        );
    }
}

//! What a terminal shows of the bytes that are written to it, as far as full screens here use it: moving the cursor,
//! erasing, text. Colours and modes change nothing that one can read.

pub struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// What came of a sequence that has not ended yet.
    pending: Vec<u8>,
    pub raw: Vec<u8>,
}

impl Screen {
    pub fn new(columns: u16, rows: u16) -> Self {
        let cells = vec![vec![' '; columns.into()]; rows.into()];
        Self { cells, row: 0, column: 0, pending: Vec::new(), raw: Vec::new() }
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.cells = vec![vec![' '; columns.into()]; rows.into()];
    }

    pub fn text(&self) -> String {
        let lines = self.cells.iter().map(|line| line.iter().collect::<String>());
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    pub fn take(&mut self, bytes: &[u8]) {
        self.raw.extend(bytes);
        self.pending.extend(bytes);
        loop {
            let used = self.step();
            if used == 0 {
                return;
            }
            self.pending.drain(..used);
        }
    }

    /// Takes the next character or sequence; how many bytes it has, 0 if it is not whole yet.
    fn step(&mut self) -> usize {
        let pending = std::mem::take(&mut self.pending);
        let used = match pending.as_slice() {
            [] | [0x1b] => 0,
            [0x1b, b'[', rest @ ..] => match rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) {
                Some(end) => {
                    self.sequence(&rest[..end], rest[end]);
                    end + 3
                }
                None => 0,
            },
            [0x1b, ..] => 2,
            [b'\r', ..] => {
                self.column = 0;
                1
            }
            [b'\n', ..] => {
                self.row += 1;
                1
            }
            [..0x20, ..] => 1,
            [first, ..] => {
                let length = match first {
                    0..0x80 => 1,
                    0x80..0xe0 => 2,
                    0xe0..0xf0 => 3,
                    _ => 4,
                };
                if pending.len() < length {
                    0
                } else {
                    let text = String::from_utf8_lossy(&pending[..length]).into_owned();
                    self.put(text.chars().next().unwrap_or('?'));
                    length
                }
            }
        };
        self.pending = pending;
        used
    }

    fn put(&mut self, c: char) {
        if let Some(cell) = self.cells.get_mut(self.row).and_then(|line| line.get_mut(self.column)) {
            *cell = c;
        }
        self.column += 1;
    }

    fn sequence(&mut self, parameters: &[u8], end: u8) {
        let text = String::from_utf8_lossy(parameters).into_owned();
        let mut numbers = text.split(';').map(|number| number.parse::<usize>().unwrap_or(0));
        let first = numbers.next().unwrap_or(0);
        match end {
            b'H' => {
                self.row = first.max(1) - 1;
                self.column = numbers.next().unwrap_or(1).max(1) - 1;
            }
            b'J' => self.cells.iter_mut().for_each(|line| line.fill(' ')),
            b'K' => {
                let column = self.column;
                let line = self.cells.get_mut(self.row);
                line.into_iter().flat_map(|line| line.iter_mut().skip(column)).for_each(|cell| *cell = ' ');
            }
            b'A' => self.row = self.row.saturating_sub(first.max(1)),
            b'B' => self.row += first.max(1),
            b'C' => self.column += first.max(1),
            b'D' => self.column = self.column.saturating_sub(first.max(1)),
            b'G' => self.column = first.max(1) - 1,
            _ => {}
        }
    }
}

#[test]
fn text_is_where_it_was_put() {
    let mut screen = Screen::new(10, 3);
    screen.take(b"\x1b[2J\x1b[2;3Hab\x1b[1");
    screen.take(b";1Hx\x1b[31my\x1b[0m");
    assert_eq!(screen.text(), "xy\n  ab\n\n");
    screen.take(b"\x1b[?1049l\x1b[2J");
    assert_eq!(screen.text(), "\n\n\n");
}

//! A small bar that shows how full a queue is, with its numbers: `[###-----] 3/8`.

/// Cells of a bar.
const CELLS: u64 = 8;

/// The bar and its numbers; what is not known is said.
pub fn bar(length: Option<u64>, limit: Option<u64>) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "?".into(), |number| number.to_string());
    let full = match (length, limit) {
        (Some(length), Some(limit)) => filled(length, limit),
        _ => 0,
    };
    let mut bar = String::from("[");
    for cell in 0..CELLS {
        bar.push(if cell < full { '#' } else { '-' });
    }
    format!("{bar}] {}/{}", number(length), number(limit))
}

/// A queue with anything in it has a cell, and only a full one has all.
fn filled(length: u64, limit: u64) -> u64 {
    if length == 0 {
        0
    } else if length >= limit {
        CELLS
    } else {
        (length.saturating_mul(CELLS) / limit).clamp(1, CELLS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_tell_empty_from_nearly_empty_and_full_from_nearly_full() {
        for (length, limit, shown) in [
            (Some(0), Some(128), "[--------] 0/128"),
            (Some(1), Some(4096), "[#-------] 1/4096"),
            (Some(64), Some(128), "[####----] 64/128"),
            (Some(127), Some(128), "[#######-] 127/128"),
            (Some(129), Some(128), "[########] 129/128"),
            (Some(1), Some(0), "[########] 1/0"),
            (None, Some(8), "[--------] ?/8"),
        ] {
            assert_eq!(bar(length, limit), shown);
        }
    }
}

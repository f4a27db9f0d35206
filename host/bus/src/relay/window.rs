//! How much of the log the streams hold: as much as was asked for, and less for a while when Redis has no room for it.
//!
//! A Redis without memory either refuses to write (then the streams are trimmed harder), or throws whole streams away (then they
//! are filled with less). Each time the window is halved; when things are calm it grows again.

use cairn_model::Position;

/// Positions from the end of the log backwards.
#[derive(Debug)]
pub(crate) struct Window {
    most: u64,
    least: u64,
    /// What streams may hold.
    keep: u64,
    /// What streams are filled with after a loss.
    fill: u64,
    losses: u32,
}

impl Window {
    pub fn new(most: u64, least: u64) -> Self {
        Self { most, least: least.min(most), keep: most, fill: most, losses: 0 }
    }

    /// What streams may hold in any case.
    pub fn least(&self) -> u64 {
        self.least
    }

    /// How many positions the streams may hold at present.
    pub fn keep(&self) -> u64 {
        self.keep
    }

    /// The last position that streams need not hold when the newest event in them is `end`.
    pub fn trim_floor(&self, end: Position) -> Position {
        end.saturating_sub(self.keep)
    }

    /// The last position that need not be filled in again when the log ends at `head`.
    pub fn fill_floor(&self, head: Position) -> Position {
        head.saturating_sub(self.fill)
    }

    /// Redis refused to write for lack of memory.
    pub fn out_of_memory(&mut self) {
        self.keep = (self.keep / 2).max(self.least);
    }

    /// Streams were lost. Once is an accident; says whether it happens again and again.
    pub fn lost(&mut self) -> bool {
        self.losses += 1;
        if self.losses > 1 {
            self.fill = (self.fill / 2).max(self.least);
            self.keep = self.keep.min(self.fill);
        }
        self.losses > 1
    }

    /// The streams are complete and have been for a while.
    pub fn calm(&mut self) {
        self.losses = 0;
        self.keep = self.keep.saturating_mul(2).min(self.most);
        self.fill = self.fill.saturating_mul(2).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_halves_it_and_calm_gives_it_back() {
        let mut window = Window::new(1000, 300);
        window.out_of_memory();
        assert_eq!((window.keep(), window.trim_floor(1500), window.fill_floor(1500)), (500, 1000, 500));
        window.out_of_memory();
        window.out_of_memory();
        assert_eq!(window.keep(), 300);
        window.calm();
        window.calm();
        assert_eq!(window.keep(), 1000);
    }

    #[test]
    fn one_loss_is_filled_up_wholly() {
        let mut window = Window::new(1000, 300);
        assert!(!window.lost());
        assert_eq!(window.fill_floor(1500), 500);
        assert!(window.lost());
        assert_eq!((window.fill_floor(1500), window.keep()), (1000, 500));
        window.calm();
        assert!(!window.lost());
    }

    #[test]
    fn a_small_window_stays_as_it_is() {
        let mut window = Window::new(10, 300);
        window.out_of_memory();
        window.lost();
        window.lost();
        assert_eq!((window.keep(), window.trim_floor(5), window.trim_floor(25)), (10, 0, 15));
    }
}

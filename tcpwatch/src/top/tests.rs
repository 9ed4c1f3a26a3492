//! What keys do, and how every screen looks.

mod keys;
mod looks;
mod scene;

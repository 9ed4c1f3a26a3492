//! What is said to have no branches has none in the object, whatever the compiler made of it.

use aya_obj::Object;
use aya_obj::generated::{BPF_EXIT, BPF_JMP, BPF_JMP32};
use tcpwatch_common::names::program;

use super::maps::OBJECT;

/// The jumps among the instructions of a program; to leave it is none.
fn jumps(name: &str) -> usize {
    let object = Object::parse(OBJECT).expect("the object is whole");
    let key = object.programs.get(name).expect("the program is there").function_key();
    let code = &object.functions.get(&key).expect("the program has code").instructions;
    let is_jump = |code: u32| matches!(code & 7, BPF_JMP | BPF_JMP32) && code & 0xf0 != BPF_EXIT;
    code.iter().filter(|instruction| is_jump(instruction.code.into())).count()
}

#[test]
fn a_bucket_is_found_without_branches() {
    assert_eq!(jumps(program::BUCKET_OF), 0);
    // Others have some, so they are seen.
    assert_ne!(jumps(program::TRANSITION), 0);
}

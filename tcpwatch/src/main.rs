use tcpwatch::kernel::*;
use tcpwatch_common::machine::EDGES;
fn main() {
    let y = Yardstick::open().unwrap();
    let mut k = Kernel::open(&Options::default()).map_err(|e| println!("{e}")).unwrap();
    let fds: Vec<_> = k.programs().iter().filter_map(|p| Some((p.name, p.fd?))).chain([("empty", y.program.fd.unwrap())]).collect();
    let c = Counters::open(&mut k).unwrap();
    k.stop_adopting().unwrap();
    let before: Vec<_> = fds.iter().map(|f| run_stats(f.1).unwrap()).collect();
    std::thread::sleep(std::time::Duration::from_secs(std::env::args().nth(1).unwrap().parse().unwrap()));
    for ((n, f), b) in fds.iter().zip(before) {
        let a = run_stats(*f).unwrap();
        println!("{n:20} runs {} ns/run {:.1} missed {:?}", a.runs - b.runs, (a.nanoseconds - b.nanoseconds) as f64 / (a.runs - b.runs).max(1) as f64, a.missed);
    }
    for n in c.namespaces().unwrap() { println!("ns {}", n.inode); for (i, v) in c.cells(n.row).unwrap().iter().enumerate() { if *v > 0 { if i < 27 { print!("{}->{} {v}; ", EDGES[i].from.name(), EDGES[i].to.name()) } else { print!("#{i} {v}; ") } } } println!() }
    let h = c.host().unwrap();
    println!("nested {} gaps {} untracked {} folded {} illegal {} unknown {:?}", h.nested, h.gaps, h.untracked, h.folded, h.illegal, h.unknown_age);
}

//! Every seed passes. This needs neither a fuzzer nor a nightly toolchain.

use std::path::Path;

type Check = fn(&[u8]);

const TARGETS: [(&str, Check); 11] = [
    ("accept", eventstream_fuzz::accept::check),
    ("decoder", eventstream_fuzz::decoder::check),
    ("event", eventstream_fuzz::event::check),
    ("grip_sig", eventstream_fuzz::grip_sig::check),
    ("grip_url", eventstream_fuzz::grip_url::check),
    ("hold", eventstream_fuzz::hold::check),
    ("hub", eventstream_fuzz::hub::check),
    ("last_event_id", eventstream_fuzz::last_event_id::check),
    ("publisher", eventstream_fuzz::publisher::check),
    ("request", eventstream_fuzz::request::check),
    ("template", eventstream_fuzz::template::check),
];

#[test]
fn every_target_has_seeds_and_passes_them() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, check) in TARGETS {
        let files: Vec<_> = here.join("seeds").join(target).read_dir().unwrap().collect();
        assert!(!files.is_empty(), "{target}");
        for file in files {
            let path = file.unwrap().path();
            println!("{}", path.display());
            check(&std::fs::read(path).unwrap());
        }
    }
    let targets = here.join("fuzz_targets").read_dir().unwrap().count();
    assert_eq!(targets, TARGETS.len(), "a target is not listed here");
}

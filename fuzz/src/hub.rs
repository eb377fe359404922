//! The hub, driven by bytes, against the `Vec` model of `tests/hub_model.rs`.

use crate::hub_model::{Draft, Form, Id, Name, Op, Pair, Setup, Via, GIVEN, NAMES};
use crate::input::Input;

/// More than these are slow, and show nothing that these do not.
const MOST: usize = 200;

fn setup(input: &mut Input<'_>) -> Setup {
    let has = input.byte();
    let limit = |input: &mut Input<'_>, bit: u8, below: usize, else_: usize| match has >> bit & 1 {
        0 => else_,
        _ => 1 + input.below(below),
    };
    Setup {
        replay: has & 1 == 0,
        events: 1 + input.below(6),
        bytes: limit(input, 1, 400, 1 << 20),
        age: 1000 * limit(input, 2, 4, 300) as u64,
        item: limit(input, 3, 300, 64 << 10),
        channels: limit(input, 4, 3, usize::MAX),
        subscriptions: limit(input, 5, 4, usize::MAX),
    }
}

fn name(input: &mut Input<'_>) -> Name {
    input.pick(&NAMES)
}

/// One to three different names, in any order.
fn names(input: &mut Input<'_>) -> Vec<Name> {
    let which = input.byte();
    let mut names = NAMES.to_vec();
    names.rotate_left(usize::from(which % 3));
    if which & 0x40 > 0 {
        names.swap(0, 1);
    }
    names.truncate(1 + usize::from(which >> 3) % 3);
    names
}

fn draft(input: &mut Input<'_>) -> Draft {
    let byte = input.byte();
    let given = (byte & 1 > 0).then(|| GIVEN[usize::from(byte >> 1 & 1)]);
    Draft { given, more: if byte & 4 > 0 { usize::from(byte >> 3) * 4 } else { 0 } }
}

fn via(input: &mut Input<'_>) -> Via {
    input.pick(&[Via::Stream, Via::Try, Via::Publisher, Via::TryPublisher, Via::Sink])
}

fn form(input: &mut Input<'_>) -> Form {
    input.pick(&[Form::Plain, Form::Body, Form::Try])
}

fn id(input: &mut Input<'_>) -> Id {
    match input.byte() {
        byte @ 0..128 => Id::Back(u64::from(byte % 16)),
        128..144 => Id::BeyondTheClock,
        144..160 => Id::OtherEpoch,
        byte @ 160..208 => Id::Given(GIVEN[usize::from(byte % 2)]),
        byte => Id::Both(u64::from(byte % 16), u64::from(input.byte() % 16)),
    }
}

fn op(input: &mut Input<'_>) -> Op {
    let which = |input: &mut Input<'_>| input.below(6);
    match input.byte() % 32 {
        0..8 => Op::Publish(name(input), draft(input), via(input)),
        8..11 => {
            let count = input.below(6);
            let drafts = (0..count).map(|_| draft(input)).collect();
            Op::PublishAll(name(input), drafts, via(input))
        }
        11 => Op::PublishInvalid(name(input), via(input)),
        12..14 => Op::Subscribe(names(input), None, form(input)),
        14..16 => Op::Subscribe(names(input), Some(id(input)), form(input)),
        16..20 => Op::PollOne(which(input)),
        20..23 => Op::PollAll(which(input)),
        23 => Op::Drop(which(input)),
        24..26 => Op::Reconnect(which(input)),
        26..28 => Op::Advance(1 + input.below(4) as u64),
        28 => Op::Stats,
        29..31 => Op::CloseChannel(name(input)),
        _ if input.below(4) > 0 => Op::Stats,
        _ => Op::Close,
    }
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let setup = setup(&mut input);
    let mut ops = Vec::new();
    while !input.is_empty() && ops.len() < MOST {
        ops.push(op(&mut input));
    }
    if let Err(differs) = Pair::new(setup.clone()).apply_all(&ops) {
        let ops: Vec<_> = ops.iter().map(|op| format!("{op:?}")).collect();
        panic!("{differs}\n{setup:?}\n{}", ops.join("\n"));
    }
}

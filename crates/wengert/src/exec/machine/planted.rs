//! Faults planted in machine code: each is found.

use super::compiler::assembled;
use super::verify::{Check, verify};
use crate::dtype::DType::F64;
use crate::exec::page::Code;
use crate::exec::plan::{Fused, Plan, Tiled};
use crate::exec::schedule::Machine;
use crate::ir::{Outputs, Recorder};
use crate::kernels::Isa;

struct Draft {
    plan: Tiled,
    code: Code,
    loops: Vec<Fused>,
    end: usize,
}

impl Draft {
    /// The code of a program; `None` where this processor has none.
    fn of(record: fn(&Recorder) -> crate::Result<Outputs>) -> Option<Self> {
        let t = Recorder::default();
        let outputs = record(&t).unwrap();
        let tape = t.finish(outputs).unwrap().0.without_dead_rows();
        let Plan::Tiled(frame, plan) = Plan::new(&tape, Isa::best(), true, &Machine::THIS).unwrap() else {
            return None;
        };
        let (code, loops, end) = assembled(&frame, &plan)?;
        Some(Self { plan, code, loops, end })
    }

    fn check(&self) -> Check {
        verify(&self.plan, &self.code, &self.loops, self.end)
    }

    /// Where these bytes are among the instructions.
    fn find(&self, bytes: &[u8]) -> usize {
        self.code.bytes[..self.end].windows(bytes.len()).position(|found| found == bytes).unwrap()
    }
}

/// Small arrays, in registers and by calls.
fn small(t: &Recorder) -> crate::Result<Outputs> {
    let (x, y) = (t.input(F64, [8]), t.input(F64, [8]));
    let z = (x.exp() * y + 2.0).maximum(x) - y.lt(x).select(x, y);
    let w = t.input(F64, [200]);
    t.outputs([z.sum(()), z.max(()), z.tanh() * z, (w * 3.0 + w.square()) * w])
}

/// Long arrays: loops of calls, with truth values and with more numbers than registers.
fn long(t: &Recorder) -> crate::Result<Outputs> {
    let x: Vec<_> = (0..20).map(|_| t.input(F64, [5000])).collect();
    let sums: Vec<_> = (0..31).map(|i| x[i % 20] * x[(7 * i + 3) % 20]).collect();
    let last = sums.iter().skip(1).fold(sums[0], |y, &s| y * s);
    let chosen = last.lt(x[2]).select(sums.iter().rev().fold(last, |y, &s| y + s), x[3]);
    t.outputs([chosen * 2.0, chosen.sum(())])
}

type Plant = (&'static str, fn(&mut Draft));

const SMALL: [Plant; 8] = [
    ("registers that are not given back", |d| {
        let at = d.find(&[0x41, 0x5e, 0x5d, 0x5b, 0xc3]);
        d.code.bytes[at] = 0xc3;
    }),
    ("a result elsewhere", |d| {
        for op in &mut d.plan.micro {
            op.out = d.plan.addresses.at(0, 1 << 16).unwrap();
        }
    }),
    ("operands elsewhere", |d| {
        for op in &mut d.plan.micro {
            op.x = [d.plan.addresses.at(0, 1 << 16).unwrap(); 3];
        }
    }),
    ("a call of another function", |d| {
        let at = d.find(&[0x48, 0xb8]);
        d.code.bytes[at + 3] ^= 1;
    }),
    ("a call of more elements", |d| {
        let at = d.find(&[0x41, 0xb8]);
        d.code.bytes[at + 2] += 1;
    }),
    ("an argument elsewhere", |d| {
        let at = d.find(&[0x48, 0x8d]);
        d.code.bytes[at + 3] += 8;
    }),
    ("an instruction that code has not", |d| {
        let at = d.find(&[0xff, 0xd0]);
        d.code.bytes[at + 1] = 0xd1;
    }),
    ("a loop over more elements than the array has", |d| {
        let at = d.find(&[0xbe]);
        d.code.bytes[at + 1] += 1;
    }),
];

const LONG: [Plant; 8] = [
    ("an array that no call reads", |d| {
        let calls = d.loops[0].calls.clone();
        d.loops[0].calls = calls.start..calls.start;
    }),
    ("an array that no call writes", |d| {
        for call in &mut d.plan.calls[d.loops[0].calls.clone()] {
            call.results.clear();
        }
    }),
    ("arrays of fewer", |d| {
        d.loops[0].streams.pop();
    }),
    ("steps of other lengths", |d| {
        let at = d.find(&[0x48, 0x83, 0xc1]);
        d.code.bytes[at + 3] *= 2;
    }),
    ("vectors that go beyond the end", |d| {
        let at = d.find(&[0x48, 0x83, 0xe2]);
        d.code.bytes[at + 3] = 0xff;
    }),
    ("a jump into an instruction", |d| {
        let at = d.find(&[0x48, 0x39, 0xd1, 0x0f, 0x82]);
        d.code.bytes[at + 5] = d.code.bytes[at + 5].wrapping_add(1);
    }),
    ("too little room on the stack", |d| {
        let at = d.find(&[0x48, 0x81, 0xec]);
        d.code.bytes[at + 3..at + 7].fill(0);
        let at = d.find(&[0x48, 0x81, 0xc4]);
        d.code.bytes[at + 3..at + 7].fill(0);
    }),
    ("constants that are not there", |d| {
        d.code.bytes.truncate(d.end.next_multiple_of(32));
    }),
];

#[test]
fn faults_that_are_planted_in_code_are_found() {
    for (record, plants) in
        [(small as fn(&Recorder) -> _, SMALL.as_slice()), (long as fn(&Recorder) -> _, LONG.as_slice())]
    {
        for (what, plant) in plants {
            let Some(mut draft) = Draft::of(record) else { return };
            assert_eq!(draft.check(), Ok(()));
            plant(&mut draft);
            assert!(draft.check().is_err(), "{what}");
        }
    }
}

/// Whatever byte of code is another, it is refused or touches nothing else: no panic, and an end.
#[test]
fn any_other_byte_is_read_to_the_end() {
    for record in [small as fn(&Recorder) -> _, long] {
        let Some(mut draft) = Draft::of(record) else { return };
        let mut refused = 0;
        for at in 0..draft.end {
            for change in [1, 0x80, 0xff] {
                draft.code.bytes[at] ^= change;
                refused += usize::from(draft.check().is_err());
                draft.code.bytes[at] ^= change;
            }
        }
        assert!(4 * refused > 3 * draft.end, "{refused} of {}", 3 * draft.end);
    }
}

//! Instructions against a disassembler that knows nothing of the assembler.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter, MemorySizeOptions};

use super::assembler::*;
use super::vectors::*;

/// What a disassembler reads in some code.
fn listed(code: &[u8]) -> Vec<String> {
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_rip_relative_addresses(true);
    formatter.options_mut().set_memory_size_options(MemorySizeOptions::Always);
    let decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let line = |instruction| {
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        text
    };
    decoder.into_iter().map(line).collect()
}

/// What is assembled, on its own.
fn one(emit: impl FnOnce(&mut Assembler)) -> String {
    of(Assembler::new(false), emit)
}

/// The same for AVX-512.
fn wide(emit: impl FnOnce(&mut Assembler)) -> String {
    of(Assembler::new(true), emit)
}

fn of(mut assembler: Assembler, emit: impl FnOnce(&mut Assembler)) -> String {
    emit(&mut assembler);
    let len = assembler.len();
    listed(&assembler.finish()[..len]).join("; ")
}

fn kinds() -> impl Iterator<Item = (Kind, &'static str, &'static str)> {
    // The register's name, and what arithmetic ends in.
    let all = [
        (Width::One, true, "xmm", "sd"),
        (Width::One, false, "xmm", "ss"),
        (Width::Half, true, "xmm", "pd"),
        (Width::Half, false, "xmm", "ps"),
        (Width::Full, true, "ymm", "pd"),
        (Width::Full, false, "ymm", "ps"),
    ];
    all.into_iter().map(|(width, double, register, end)| (Kind { double, width }, register, end))
}

const FAR: Reg = Reg(13);

#[test]
fn arithmetic_is_what_a_disassembler_reads() {
    for (kind, r, end) in kinds() {
        let ops = [
            (Arithmetic::Add, "add"),
            (Arithmetic::Sub, "sub"),
            (Arithmetic::Mul, "mul"),
            (Arithmetic::Div, "div"),
            (Arithmetic::Max, "max"),
            (Arithmetic::Min, "min"),
        ];
        for (op, name) in ops {
            let text = one(|a| a.arithmetic(op, kind, Reg(2), FAR, Place::Register(Reg(9))));
            assert_eq!(text, format!("v{name}{end} {r}2, {r}13, {r}9"));
            let text = one(|a| a.arithmetic(op, kind, FAR, Reg(1), Place::Register(Reg(7))));
            assert_eq!(text, format!("v{name}{end} {r}13, {r}1, {r}7"));
        }
        let text = one(|a| a.fused(kind, Reg(3), FAR, Reg(8)));
        assert_eq!(text, format!("vfmadd231{end} {r}3, {r}13, {r}8"));
        let own = if kind.width == Width::One { format!("{r}10, ") } else { String::new() };
        assert_eq!(one(|a| a.sqrt(kind, Reg(4), Reg(10))), format!("vsqrt{end} {r}4, {own}{r}10"));
        for (down, how) in [(false, 8), (true, 9)] {
            let text = one(|a| a.round(kind, down, Reg(4), Reg(10)));
            assert_eq!(text, format!("vround{end} {r}4, {own}{r}10, {how}"));
        }
    }
}

#[test]
fn one_nan_for_all_is_what_a_disassembler_reads() {
    let kind = Kind { double: true, width: Width::Full };
    let text = one(|a| a.canonical(kind, Reg(1), FAR, Reg(3)));
    assert_eq!(text, "vcmpunordpd ymm3, ymm1, ymm1; vblendvpd ymm1, ymm1, ymm13, ymm3");
    let text = wide(|a| a.canonical(Kind { width: Width::Wide, ..kind }, Reg(17), FAR, Reg(3)));
    assert_eq!(text, "vcmpunordpd k1, zmm17, zmm17; vblendmpd zmm17{k1}, zmm17, zmm13");
}

#[test]
fn neighbours_are_what_a_disassembler_reads() {
    let [double, float] = [true, false].map(|double| Kind { double, width: Width::Half });
    assert_eq!(one(|a| a.further(double, true, Reg(1), FAR)), "vunpckhpd xmm1, xmm13, xmm13");
    assert_eq!(one(|a| a.further(float, false, Reg(1), FAR)), "vunpckhpd xmm1, xmm13, xmm13");
    assert_eq!(one(|a| a.further(float, true, FAR, Reg(1))), "vmovshdup xmm13, xmm1");
    assert_eq!(wide(|a| a.further(float, false, Reg(20), FAR)), "vunpckhpd xmm20, xmm13, xmm13");
    assert_eq!(wide(|a| a.further(float, true, Reg(20), FAR)), "vmovshdup xmm20, xmm13");
    let text = one(|a| {
        let zero = a.number(0, true);
        a.arithmetic(Arithmetic::Add, Kind { width: Width::One, ..double }, Reg(1), Reg(2), zero);
    });
    assert!(text.starts_with("vaddsd xmm1, xmm2, qword ptr [rip+"), "{text}");
}

#[test]
fn bits_and_masks_are_what_a_disassembler_reads() {
    for (kind, r, end) in kinds() {
        let packed = end.replace('s', "p").replace("pp", "ps");
        let packed = if kind.double { "pd" } else { &packed };
        let text = one(|a| a.bits(Bits::And, kind, Reg(1), FAR, Place::Register(Reg(3))));
        assert_eq!(text, format!("vand{packed} {r}1, {r}13, {r}3"));
        let text = one(|a| a.bits(Bits::Xor, kind, Reg(1), FAR, Place::Register(Reg(3))));
        assert_eq!(text, format!("vxor{packed} {r}1, {r}13, {r}3"));
        let hows = [
            (Compare::Less, "lt_oq"),
            (Compare::LessEqual, "le_oq"),
            (Compare::Equal, "eq"),
            (Compare::Unordered, "unord"),
        ];
        for (how, name) in hows {
            let text = one(|a| a.compare(how, kind, Reg(1), FAR, Reg(3)));
            assert_eq!(text, format!("vcmp{name}{packed} {r}1, {r}13, {r}3"));
        }
        let text = one(|a| a.blend(kind, Reg(1), FAR, Reg(3), Reg(11)));
        assert_eq!(text, format!("vblendv{packed} {r}1, {r}13, {r}3, {r}11"));
    }
}

#[test]
fn places_are_what_a_disassembler_reads() {
    for (kind, r, end) in kinds() {
        let (name, size) = match (kind.width, end) {
            (Width::One, end) => (format!("vmov{end}"), if kind.double { "qword" } else { "dword" }),
            (width, end) => (format!("vmovu{end}"), if width == Width::Half { "xmmword" } else { "ymmword" }),
        };
        let bases = [(Gpr::RBX, "rbx"), (Gpr::R14, "r14"), (Gpr::RAX, "rax"), (Gpr::RBP, "rbp")];
        for (base, b) in bases {
            let text = one(|a| a.load(kind, FAR, Place::Memory(base, 4096)));
            assert_eq!(text, format!("{name} {r}13, {size} ptr [{b}+1000h]"));
            let text = one(|a| a.store(kind, FAR, Place::Memory(base, -8)));
            assert_eq!(text, format!("{name} {size} ptr [{b}-8], {r}13"));
        }
        let whole = if kind.double { "pd" } else { "ps" };
        assert_eq!(one(|a| a.copy(kind, Reg(1), FAR)), format!("vmovu{whole} {r}1, {r}13"));
        let text = one(|a| a.repeat(kind, Reg(6), Place::Memory(Gpr::RBX, 16)));
        let one_number = match (kind.width, kind.double) {
            (Width::One, true) => "vmovsd xmm6, qword",
            (Width::One, false) => "vmovss xmm6, dword",
            (Width::Half, true) => "vmovddup xmm6, qword",
            (Width::Half, false) => "vbroadcastss xmm6, dword",
            (Width::Full, true) => "vbroadcastsd ymm6, qword",
            (_, false) => "vbroadcastss ymm6, dword",
            (Width::Wide, true) => unreachable!("not of AVX"),
        };
        assert_eq!(text, format!("{one_number} ptr [rbx+10h]"));
    }
    // Constants begin at the next multiple of 32.
    let double = Kind { double: true, width: Width::Full };
    let text = one(|a| a.bits(Bits::Xor, double, Reg(1), Reg(2), Place::Constant(SIGN[1])));
    assert_eq!(text, "vxorpd ymm1, ymm2, ymmword ptr [rip+78h]", "8 bytes; 32 + 3 · 32");
}

#[test]
fn truth_values_are_what_a_disassembler_reads() {
    let at = Place::Memory(Gpr::R14, 64);
    let double = |width| Kind { double: true, width };
    let float = |width| Kind { double: false, width };
    let load = |kind| one(|a| a.load_mask(kind, Reg(1), Reg(12), at));
    assert_eq!(
        load(double(Width::Full)),
        "vpmovzxbq ymm1, dword ptr [r14+40h]; vpxor ymm12, ymm12, ymm12; vpsubq ymm1, ymm12, ymm1"
    );
    assert_eq!(
        load(float(Width::Half)),
        "vpmovzxbd xmm1, dword ptr [r14+40h]; vpxor xmm12, xmm12, xmm12; vpsubd xmm1, xmm12, xmm1"
    );
    assert_eq!(
        load(double(Width::One)),
        "movzx eax, byte ptr [r14+40h]; vmovd xmm1, eax; vpxor xmm12, xmm12, xmm12; vpsubq xmm1, xmm12, xmm1"
    );
    let store = |kind| one(|a| a.store_mask(kind, Reg(1), Reg(12), at));
    let packs = "vpacksswb xmm12, xmm12, xmm12; vpand xmm12, xmm12, xmmword ptr [rip+";
    let text = store(double(Width::Full));
    let start = "vextracti128 xmm12, ymm1, 1; vpackssdw xmm12, xmm1, xmm12; vpackssdw xmm12, xmm12, xmm12; ";
    assert!(text.starts_with(&format!("{start}{packs}")), "{text}");
    assert!(text.ends_with("vmovd dword ptr [r14+40h], xmm12"), "{text}");
    let text = store(float(Width::Full));
    assert!(
        text.starts_with(&format!("vextracti128 xmm12, ymm1, 1; vpackssdw xmm12, xmm1, xmm12; {packs}")),
        "{text}"
    );
    assert!(text.ends_with("vmovq qword ptr [r14+40h], xmm12"), "{text}");
    let text = store(double(Width::Half));
    assert!(
        text.starts_with(&format!("vpackssdw xmm12, xmm1, xmm1; vpackssdw xmm12, xmm12, xmm12; {packs}")),
        "{text}"
    );
    assert!(text.ends_with("vpextrw word ptr [r14+40h], xmm12, 0"), "{text}");
    let text = store(float(Width::One));
    assert!(text.ends_with("vpextrb byte ptr [r14+40h], xmm12, 0"), "{text}");
}

#[test]
fn registers_of_avx_512_are_what_a_disassembler_reads() {
    let far = Reg(29);
    for (double, end, size) in [(true, "pd", 8), (false, "ps", 4)] {
        let kind = Kind { double, width: Width::Wide };
        let word = if double { "q" } else { "d" };
        let add =
            |a: &mut Assembler| a.arithmetic(Arithmetic::Add, kind, Reg(17), far, Place::Register(Reg(8)));
        assert_eq!(wide(add), format!("vadd{end} zmm17, zmm29, zmm8"));
        let text = wide(|a| a.fused(kind, Reg(3), far, Reg(24)));
        assert_eq!(text, format!("vfmadd231{end} zmm3, zmm29, zmm24"));
        assert_eq!(wide(|a| a.sqrt(kind, far, Reg(16))), format!("vsqrt{end} zmm29, zmm16"));
        assert_eq!(wide(|a| a.round(kind, true, far, Reg(2))), format!("vrndscale{end} zmm29, zmm2, 9"));
        assert_eq!(wide(|a| a.copy(kind, Reg(1), far)), format!("vmovu{end} zmm1, zmm29"));
        // A distance of one byte counts registers.
        for (offset, len) in [(0, 6), (64, 7), (-8192, 7), (8192, 10), (8, 10)] {
            let load = |a: &mut Assembler| a.load(kind, far, Place::Memory(Gpr::RBX, offset));
            let sign = if offset < 0 { "-" } else { "+" };
            let distance = if offset == 0 { String::new() } else { format!("{sign}{}", hex(offset)) };
            assert_eq!(wide(load), format!("vmovu{end} zmm29, zmmword ptr [rbx{distance}]"));
            let mut assembler = Assembler::new(true);
            load(&mut assembler);
            assert_eq!(assembler.len(), len, "{offset}");
        }
        let text = wide(|a| a.store(kind, far, Place::Indexed(Base::Region(0, 128), 2)));
        assert_eq!(text, format!("vmovu{end} zmmword ptr [rbx+rcx*4+80h], zmm29"));
        let text = wide(|a| a.repeat(kind, far, Place::Memory(Gpr::R14, -size)));
        let one = if double { "vbroadcastsd zmm29, qword" } else { "vbroadcastss zmm29, dword" };
        assert_eq!(text, format!("{one} ptr [r14-{size}]"));
        let text = wide(|a| a.bits(Bits::Xor, kind, far, Reg(1), Place::Constant(SIGN[usize::from(double)])));
        assert!(
            text.starts_with(&format!("vxor{end} zmm29, zmm1, ")) && text.contains("ptr [rip+"),
            "{text}"
        );
        assert!(text.ends_with(if double { "{1to8}" } else { "{1to16}" }), "{text}");
        let text = wide(|a| a.compare(Compare::Unordered, kind, far, Reg(1), Reg(18)));
        assert_eq!(text, format!("vcmpunord{end} k1, zmm1, zmm18; vpmovm2{word} zmm29, k1"));
        let text = wide(|a| a.blend(kind, Reg(5), Reg(6), Reg(7), far));
        assert_eq!(text, format!("vpmov{word}2m k1, zmm29; vblendm{end} zmm5{{k1}}, zmm6, zmm7"));
        let text = wide(|a| a.load_mask(kind, far, Reg(12), Place::Memory(Gpr::R14, 64)));
        let bytes = if double { "qword" } else { "xmmword" };
        assert_eq!(
            text,
            format!(
                "vpmovzxb{word} zmm29, {bytes} ptr [r14+40h]; vpxor{word} zmm12, zmm12, zmm12; \
                 vpsub{word} zmm29, zmm12, zmm29"
            )
        );
        let text = wide(|a| a.store_mask(kind, Reg(1), far, Place::Memory(Gpr::R14, 64)));
        assert!(text.starts_with(&format!("vpand{word} zmm29, zmm1, ")), "{text}");
        assert!(text.ends_with(&format!("vpmov{word}b {bytes} ptr [r14+40h], zmm29")), "{text}");
    }
    // Shorter ones are as without, but where that is longer.
    for (kind, r, end) in kinds() {
        let add =
            |to| wide(|a| a.arithmetic(Arithmetic::Add, kind, Reg(to), Reg(1), Place::Register(Reg(2))));
        assert_eq!([add(3), add(31)], [3, 31].map(|to| format!("vadd{end} {r}{to}, {r}1, {r}2")));
        let text = wide(|a| a.compare(Compare::Less, kind, Reg(20), Reg(1), Reg(2)));
        assert!(text.contains(" k1, ") && text.ends_with(&format!(" {r}20, k1")), "{text}");
        let text = wide(|a| a.store_mask(kind, Reg(1), Reg(20), Place::Memory(Gpr::RBX, 1)));
        assert!(text.contains("ptr [rbx+1]") && text.contains(&format!("{r}20")), "{text}");
        let text = wide(|a| a.load(kind, Reg(2), Place::Memory(Gpr::RBX, 16 * kind_bytes(kind))));
        assert!(text.contains(&format!("ptr [rbx+{}]", hex(16 * kind_bytes(kind)))), "{text}");
    }
}

fn hex(offset: i32) -> String {
    let offset = offset.unsigned_abs();
    if offset < 10 { offset.to_string() } else { format!("{offset:X}h") }
}

fn kind_bytes(kind: Kind) -> i32 {
    i32::try_from(kind.bytes()).unwrap()
}

#[test]
fn calls_are_what_a_disassembler_reads() {
    assert_eq!(one(Assembler::enter), "push rbx; push rbp; push r14; mov rbx, rdi; mov rbp, rsi");
    assert_eq!(one(Assembler::leave), "vzeroupper; pop r14; pop rbp; pop rbx; ret");
    assert_eq!(one(|a| a.call(0x1234_5678_9abc, 9)), "mov r8d, 9; mov rax, 123456789ABCh; call rax");
    for (to, name) in [(Gpr::RDI, "rdi"), (Gpr::RSI, "rsi"), (Gpr::RDX, "rdx"), (Gpr::RCX, "rcx")] {
        assert_eq!(one(|a| a.address(to, Gpr::R14, 8)), format!("lea {name}, [r14+8]"));
        assert_eq!(one(|a| a.address(to, Gpr::RAX, 8)), format!("lea {name}, [rax+8]"));
    }
    assert_eq!(one(|a| a.word(Gpr::R14, Gpr::RBP, 16)), "mov r14, qword ptr [rbp+10h]");
    assert_eq!(one(|a| a.word(Gpr::RAX, Gpr::RBP, 48)), "mov rax, qword ptr [rbp+30h]");
}

#[test]
fn loops_are_what_a_disassembler_reads() {
    let kind = Kind { double: true, width: Width::Full };
    let text = one(|a| a.load(kind, FAR, Place::Indexed(Base::Pointer(4), 3)));
    assert_eq!(text, "mov rax, qword ptr [rdi+20h]; vmovupd ymm13, ymmword ptr [rax+rcx*8]");
    let text = one(|a| {
        a.store(Kind { double: false, width: Width::One }, Reg(2), Place::Indexed(Base::Pointer(0), 2))
    });
    assert_eq!(text, "vmovss dword ptr [r8+rcx*4], xmm2");
    let text = one(|a| {
        a.load_mask(Kind { width: Width::One, ..kind }, Reg(1), Reg(12), Place::Indexed(Base::Pointer(1), 0))
    });
    assert!(text.starts_with("movzx eax, byte ptr [r9+rcx]; vmovd xmm1, eax;"), "{text}");
    let text = one(|a| a.load(kind, Reg(2), Place::Indexed(Base::Region(0, 64), 3)));
    assert_eq!(text, "vmovupd ymm2, ymmword ptr [rbx+rcx*8+40h]");
    let text = one(|a| a.load(kind, Reg(2), Place::Indexed(Base::Region(1, -8), 3)));
    assert_eq!(text, "vmovupd ymm2, ymmword ptr [r14+rcx*8-8]");
    let text = one(|a| a.load(kind, Reg(2), Place::Indexed(Base::Region(3, 8), 3)));
    assert_eq!(text, "mov rax, qword ptr [rbp+30h]; vmovupd ymm2, ymmword ptr [rax+rcx*8+8]");
    assert_eq!(one(|a| a.second(100)), "mov esi, 64h");
    assert_eq!(one(|a| a.pointers(2)), "mov r8, qword ptr [rdi]; mov r9, qword ptr [rdi+8]");
    assert_eq!(one(|a| a.pointers(9)).matches("mov").count(), 4);
    let text = one(|a| a.store(kind, Reg(9), Place::Memory(Gpr::RSP, 64)));
    assert_eq!(text, "vmovupd ymmword ptr [rsp+40h], ymm9");
    let text = one(|a| {
        let frame = a.begin_loop();
        a.lanes(4);
        let jump = a.jump_if_done();
        let begin = a.len();
        a.copy(kind, Reg(0), Reg(1));
        a.advance(4, begin);
        a.land(jump);
        a.lanes(1);
        a.end_loop(frame, 96);
        a.finish_function();
    });
    let due = "sub rsp, 60h; xor ecx, ecx; mov rdx, rsi; and rdx, 0FFFFFFFFFFFFFFFCh; cmp rcx, rdx; jae 000000000000002Ah; \
               vmovupd ymm0, ymm1; add rcx, 4; cmp rcx, rdx; jb 0000000000000019h; mov rdx, rsi; add rsp, 60h; vzeroupper; ret";
    assert_eq!(text, due);
    // The loop begins behind 25 bytes; 18 further on are the elements that are left.
    // Numbers lie behind the constants, each once.
    let mut assembler = Assembler::new(false);
    let numbers = [1.5f64, 2.5, 1.5].map(|x| assembler.number(x.to_bits(), true));
    let half = assembler.number(u64::from(0.5f32.to_bits()), false);
    assert_eq!((numbers[0], numbers[1] == numbers[0], half == numbers[0]), (numbers[2], false, false));
    let bytes = assembler.finish();
    let last = |n: usize| &bytes[bytes.len() - 32 * n..][..8];
    assert_eq!(
        (last(3), last(1)),
        (&1.5f64.to_le_bytes()[..], &[0.5f32, 0.5].map(f32::to_le_bytes).concat()[..])
    );
}

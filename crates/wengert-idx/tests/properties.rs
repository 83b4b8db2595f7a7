//! Round trips, cuts and flips over all element types, shapes and encodings.

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::io::Write;
use wengert_idx::{
    AnyArray, Element, ElementType, Encoding, ErrorKind, Options, Reader, read, read_any, read_from,
    read_pair, summarise, write, write_to,
};

fn encoded<T: Element>(array: &ArrayD<T>, encoding: Encoding) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, array, encoding).unwrap();
    bytes
}

fn dims() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0usize..5, 0..5)
}

/// A random array of one of the types, as the bytes of a raw file.
fn file() -> impl Strategy<Value = (Vec<u8>, ElementType, Vec<usize>)> {
    (dims(), 0usize..6, any::<u64>()).prop_map(|(dims, ty, seed)| {
        let ty = ElementType::ALL[ty];
        let mut bytes = vec![0, 0, ty.code(), dims.len() as u8];
        dims.iter().for_each(|&d| bytes.extend((d as u32).to_be_bytes()));
        let data = dims.iter().product::<usize>() * ty.bytes();
        bytes.extend((0..data as u64).map(|i| (seed.wrapping_mul(i * 2 + 1) >> 40) as u8));
        (bytes, ty, dims)
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = GzEncoder::new(Vec::new(), Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// Reads as whatever type the header names, back to the bytes of a raw file.
fn reread(bytes: &[u8]) -> Result<Vec<u8>, wengert_idx::Error> {
    let reader = Reader::new(bytes, &Options { max_bytes: 1 << 20 })?;
    Ok(match reader.header().element {
        ElementType::U8 => encoded(&reader.into_array::<u8>()?, Encoding::Raw),
        ElementType::I8 => encoded(&reader.into_array::<i8>()?, Encoding::Raw),
        ElementType::I16 => encoded(&reader.into_array::<i16>()?, Encoding::Raw),
        ElementType::I32 => encoded(&reader.into_array::<i32>()?, Encoding::Raw),
        ElementType::F32 => encoded(&reader.into_array::<f32>()?, Encoding::Raw),
        ElementType::F64 => encoded(&reader.into_array::<f64>()?, Encoding::Raw),
    })
}

/// Reads record by record to the end.
fn by_records(bytes: &[u8]) -> Result<u64, wengert_idx::Error> {
    fn run<T: Element>(mut reader: Reader<&[u8]>) -> Result<u64, wengert_idx::Error> {
        let (mut record, mut count) = (Vec::<T>::new(), 0);
        while reader.next_record(&mut record)? {
            count += record.len() as u64;
        }
        Ok(count)
    }
    let reader = Reader::new(bytes, &Options { max_bytes: 1 << 20 })?;
    match reader.header().element {
        ElementType::U8 => run::<u8>(reader),
        ElementType::I8 => run::<i8>(reader),
        ElementType::I16 => run::<i16>(reader),
        ElementType::I32 => run::<i32>(reader),
        ElementType::F32 => run::<f32>(reader),
        ElementType::F64 => run::<f64>(reader),
    }
}

/// Counts what is read from it.
struct Counted<R>(R, std::rc::Rc<std::cell::Cell<u64>>);
impl<R: std::io::Read> std::io::Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(into)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(2026), ..ProptestConfig::default() })]

    #[test]
    fn round_trips((bytes, ty, dims) in file()) {
        // Bit by bit, NaNs of any payload included.
        prop_assert_eq!(&reread(&bytes).unwrap(), &bytes);
        prop_assert_eq!(&reread(&gzip(&bytes)).unwrap(), &bytes);
        let reader = Reader::new(&bytes[..], &Options::default()).unwrap();
        prop_assert_eq!(reader.header().element, ty);
        let found: Vec<usize> = reader.header().dims.iter().map(|&d| d as usize).collect();
        prop_assert_eq!(found, dims);
    }

    #[test]
    fn floats_round_trip(dims in dims(), scale in -1e30f64..1e30) {
        let count: usize = dims.iter().product();
        let wide = ArrayD::from_shape_vec(IxDyn(&dims), (0..count).map(|i| scale / (i + 1) as f64).collect()).unwrap();
        let narrow = wide.mapv(|x| x as f32);
        for encoding in [Encoding::Raw, Encoding::Gzip] {
            prop_assert_eq!(&read_from::<f64>(&encoded(&wide, encoding)[..], &Options::default()).unwrap(), &wide);
            prop_assert_eq!(&read_from::<f32>(&encoded(&narrow, encoding)[..], &Options::default()).unwrap(), &narrow);
        }
        // Another memory layout, the same file.
        let reversed = wide.clone().reversed_axes();
        let standard = ArrayD::from_shape_vec(reversed.raw_dim(), reversed.iter().copied().collect()).unwrap();
        prop_assert_eq!(encoded(&reversed, Encoding::Raw), encoded(&standard, Encoding::Raw));
    }

    #[test]
    fn a_cut_at_every_byte_is_an_error((bytes, ..) in file()) {
        for packed in [bytes.clone(), gzip(&bytes)] {
            for cut in 0..packed.len() {
                prop_assert!(reread(&packed[..cut]).is_err(), "cut at {} of {}", cut, packed.len());
                prop_assert!(by_records(&packed[..cut]).is_err(), "cut at {} of {}", cut, packed.len());
            }
        }
        let mut longer = bytes;
        longer.push(0);
        let trailing = matches!(reread(&longer).unwrap_err().kind(), ErrorKind::Trailing { .. });
        prop_assert!(trailing);
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_a_well_formed_result((bytes, ..) in file(), flip in 1u8..) {
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= flip;
            if let Ok(back) = reread(&flipped) {
                prop_assert_eq!(&back, &flipped);
            }
        }
        let packed = gzip(&bytes);
        for i in 0..packed.len() {
            let mut flipped = packed.clone();
            flipped[i] ^= flip;
            // Some header bytes (time, system) mean nothing; the data has a checksum.
            if let Ok(back) = reread(&flipped) {
                prop_assert_eq!(&back, &bytes);
            }
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = reread(&noise);
        let _ = reread(&[&[0, 0, 8, 3][..], &noise].concat());
        let _ = reread(&[&[0x1f, 0x8b, 8][..], &noise].concat());
    }
}

fn mnist_like(count: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    [count, 2, 2].iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend((0..count * 4).map(|i| i as u8));
    bytes
}

#[test]
fn members_flags_and_checksums_of_gzip() {
    let bytes = mnist_like(10);
    let (a, b) = bytes.split_at(7);
    let several = [gzip(a), gzip(&[]), gzip(b)].concat();
    assert_eq!(reread(&several).unwrap(), bytes);

    let mut flagged = GzBuilder::new()
        .filename("x-idx3-ubyte")
        .comment("all flags")
        .extra(vec![1, 2, 3, 4])
        .mtime(7)
        .write(Vec::new(), Compression::best());
    flagged.write_all(&bytes).unwrap();
    assert_eq!(reread(&flagged.finish().unwrap()).unwrap(), bytes);

    for from_end in 1..=8 {
        let mut damaged = gzip(&bytes);
        let at = damaged.len() - from_end;
        damaged[at] ^= 1;
        let error = reread(&damaged).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Gzip(_)), "trailer byte {from_end}: {error}");
    }
    // A header with every flag, its own checksum among them: FTEXT, FHCRC, FEXTRA, FNAME, FCOMMENT.
    let plain = gzip(&bytes);
    let mut header = vec![0x1f, 0x8b, 8, 0b1_1111, 0, 0, 0, 0, 0, 255, 2, 0, b'a', b'b'];
    header.extend(b"name\0comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    header.extend((crc.sum() as u16).to_le_bytes());
    let whole = [&header[..], &plain[10..]].concat();
    assert_eq!(reread(&whole).unwrap(), bytes);
    let mut damaged = whole;
    damaged[14] ^= 1;
    assert!(reread(&damaged).is_err(), "the header's checksum is verified");

    let garbage = [gzip(&bytes), b"garbage".to_vec()].concat();
    assert!(reread(&garbage).is_err());
}

#[test]
fn headers_that_lie_are_refused_before_memory_is_taken() {
    let lie = |dims: &[u32]| {
        let mut bytes = vec![0, 0, 14, dims.len() as u8];
        dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes
    };
    for dims in [&[u32::MAX][..], &[u32::MAX; 3], &[u32::MAX; 200], &[0, u32::MAX, u32::MAX], &[1 << 28]] {
        let error = read_from::<f64>(&lie(dims)[..], &Options::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TooLarge { .. }), "{dims:?}: {error}");
    }
    // Within the limit but not there: an error at the end of the bytes, not of memory.
    let error = read_from::<f64>(&lie(&[1 << 26])[..], &Options::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Truncated { found: 8, .. }), "{error}");
    // A bomb: 64 MiB of zeros behind a header of one byte.
    let mut bomb = vec![0, 0, 8, 1, 0, 0, 0, 1];
    bomb.resize(64 << 20, 0);
    let packed = gzip(&bomb);
    assert!(packed.len() > 200_000);
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let error = read_from::<u8>(Counted(&packed[..], count.clone()), &Options::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Trailing { .. }), "{error}");
    assert!(count.get() <= 1 << 16, "one buffer of the bomb is read, not {} bytes", count.get());
    let error = read_from::<u8>(&mnist_like(10)[..], &Options { max_bytes: 55 }).unwrap_err();
    assert_eq!(error.to_string(), "too large at byte 4: the header announces 56 bytes, the limit is 55");
}

#[test]
fn errors_name_path_offset_expected_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad");
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read::<u8>(&path, &Options::default()).unwrap_err().to_string()
    };
    let name = path.display().to_string();
    assert_eq!(message(b""), format!("{name}: at byte 0: expected an IDX file, found nothing"));
    assert_eq!(
        message(b"PK\x03\x04"),
        format!("{name}: not an IDX file at byte 0: expected 00 00 (or 1f 8b of gzip), found 50 4b")
    );
    assert_eq!(
        message(&[0, 0, 7, 1]),
        format!("{name}: unknown element type at byte 2: expected 08, 09, 0b, 0c, 0d or 0e, found 07")
    );
    assert_eq!(
        message(&[0, 0, 13, 0, 0, 0, 0, 0]),
        format!("{name}: wrong element type at byte 2: expected u8, found f32")
    );
    assert_eq!(
        message(&mnist_like(2)[..20]),
        format!("{name}: truncated at byte 20: the header announces 24 bytes, found 20")
    );
    let folder = read::<u8>(dir.path(), &Options::default()).unwrap_err();
    assert!(matches!(folder.kind(), ErrorKind::Directory), "{folder}");
    let missing = read::<u8>(dir.path().join("none"), &Options::default()).unwrap_err();
    assert!(missing.to_string().contains("none: "), "{missing}");
}

#[test]
fn files_are_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-idx1-ubyte.gz");
    write(&path, &ndarray::array![9u8], Encoding::Raw).unwrap();
    let array = ndarray::array![1u8, 2, 3];
    write(&path, &array, Encoding::Gzip).unwrap();
    assert_eq!(read_any(&path, &Options::default()).unwrap(), AnyArray::U8(array.clone().into_dyn()));
    // An array that cannot be written leaves what was there.
    let impossible = ArrayD::<u8>::zeros(IxDyn(&[1; 256]));
    assert!(write(&path, &impossible, Encoding::Gzip).is_err());
    assert_eq!(read_any(&path, &Options::default()).unwrap(), AnyArray::U8(array.clone().into_dyn()));
    assert!(write(dir.path().join("no/such/folder"), &array, Encoding::Raw).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half written is left");
    let summary = summarise(&path, &Options::default()).unwrap();
    assert_eq!(
        (summary.sum, summary.min, summary.max, summary.mean()),
        (6.0, Some(1.0), Some(3.0), Some(2.0))
    );
}

#[test]
fn arrays_larger_than_every_buffer() {
    let large = ArrayD::from_shape_fn(IxDyn(&[3, 70_001, 2]), |i| (i[0] * 7 + i[1] * 3 + i[2]) as i32 - 1000);
    let turned = large.view().reversed_axes();
    for encoding in [Encoding::Raw, Encoding::Gzip] {
        let back = read_from::<i32>(&encoded(&large, encoding)[..], &Options::default()).unwrap();
        assert!(back == large);
        let mut bytes = Vec::new();
        write_to(&mut bytes, &turned, encoding).unwrap();
        assert!(read_from::<i32>(&bytes[..], &Options::default()).unwrap() == turned);
    }
}

#[test]
fn empty_arrays() {
    for dims in [&[0usize][..], &[0, 28, 28], &[28, 0], &[0, 1 << 20, 1 << 20]] {
        let array = ArrayD::<f64>::zeros(IxDyn(dims));
        let bytes = encoded(&array, Encoding::Raw);
        assert_eq!(read_from::<f64>(&bytes[..], &Options { max_bytes: 16 }).unwrap(), array);
        assert_eq!(by_records(&bytes).unwrap(), 0);
    }
    // Very many records of nothing are no work.
    let many = [&[0, 0, 8, 2, 255, 255, 255, 255][..], &[0, 0, 0, 0]].concat();
    assert_eq!(by_records(&many).unwrap(), 0);
}

#[test]
fn pairs_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    let put = |labels_array: &ndarray::Array1<i32>| {
        write(&images, &ndarray::Array3::<f32>::zeros((3, 2, 2)), Encoding::Raw).unwrap();
        write(&labels, labels_array, Encoding::Gzip).unwrap();
        read_pair(&images, &labels, 10, &Options::default())
    };
    assert_eq!(put(&ndarray::array![0, 9, 5]).unwrap().labels, ndarray::array![0u32, 9, 5]);
    let error = put(&ndarray::array![0, 9]).unwrap_err().to_string();
    assert!(error.contains("expected 3 labels") && error.contains("found 2"), "{error}");
    let error = put(&ndarray::array![0, 10, 5]).unwrap_err();
    assert!(error.to_string().ends_with("at byte 12: label 1: expected 0 to 9, found 10"), "{error}");
    assert_eq!(error.offset(), 12);
    assert!(put(&ndarray::array![0, -1, 5]).is_err());

    let mut pixels = ndarray::Array3::<f32>::zeros((3, 2, 2));
    pixels[[1, 0, 1]] = f32::NAN;
    write(&images, &pixels, Encoding::Raw).unwrap();
    write(&labels, &ndarray::array![1u8, 2, 3], Encoding::Raw).unwrap();
    let error = read_pair(&images, &labels, 10, &Options::default()).unwrap_err().to_string();
    assert!(error.ends_with("at byte 36: image 1: expected numbers, found NaN"), "{error}");
    let swapped = read_pair(&labels, &images, 10, &Options::default()).unwrap_err().to_string();
    assert!(swapped.contains("expected images of at least two dimensions"), "{swapped}");
}

#[test]
fn zeros_behind_gzip_are_padding_and_other_bytes_are_named() {
    use std::io::Write;
    let pack = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let plain = [0u8, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];
    let read = |bytes: &[u8]| wengert_idx::read_from::<u8>(bytes, &Default::default());
    let sound = pack(&plain);
    let padded = [&sound[..], &[0; 5000]].concat();
    assert_eq!(read(&padded).unwrap().as_slice().unwrap(), [7, 8, 9]);
    // Two members, with zeros behind each.
    let two = [&pack(&plain[..5])[..], &[0; 3], &pack(&plain[5..])[..], &[0]].concat();
    assert_eq!(read(&two).unwrap().as_slice().unwrap(), [7, 8, 9]);
    let text = read(&[&sound[..], b"text"].concat()).unwrap_err().to_string();
    assert!(text.contains("behind the data, found 74"), "{text}");
    let twice = read(&pack(&sound)).unwrap_err().to_string();
    assert!(twice.contains("compressed twice"), "{twice}");
    assert!(read(&sound[..sound.len() - 1]).is_err() && read(&sound[..12]).is_err());
    let mut damaged = padded;
    damaged[sound.len() - 6] ^= 1;
    assert!(read(&damaged).is_err());
}

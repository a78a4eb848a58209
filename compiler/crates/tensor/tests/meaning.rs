//! What operators mean, on cases that can be worked out by hand, and against each other.

use secateur_tensor::op::{
    Binary, Conv, ConvTranspose, Coordinates, NearestRounding, Pad, PadKind, Pool, PoolKind, PoolRounding,
    Range, Resize, ResizeKind, Unary, Window,
};
use secateur_tensor::{Builder, DType, Data, Op, Place, Spec, Tensor, Value, evaluate};

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::f32(shape, values.to_vec()).unwrap()
}

/// An operator on inputs that are known when it runs only.
fn run(op: impl Into<Op>, inputs: &[Tensor]) -> Tensor {
    let mut builder = Builder::new();
    let values: Vec<Value> =
        inputs.iter().map(|input| builder.input("x", input.spec().clone()).unwrap()).collect();
    let output = builder.node(&Place::default(), op.into(), &values).unwrap();
    builder.output("y", output);
    let graph = builder.finish();
    let spec = graph.spec(output).clone();
    let found = evaluate(&graph, inputs, &mut |_, _| ()).unwrap().remove(0);
    assert_eq!(*found.spec(), spec, "evaluation yields what inference promised");
    found
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_f32()
}

fn pool(kind: PoolKind, window: Window, rounding: PoolRounding, x: &Tensor) -> Tensor {
    run(Pool { kind, window, rounding }, std::slice::from_ref(x))
}

#[test]
fn pools_round_and_divide_as_they_say() {
    let x = floats(&[1, 1, 1, 6], &[1., 2., 3., 4., 5., 6.]);
    let window = |kernel, stride, pads| Window::plane([1, kernel], [1, stride], [1; 2], pads);
    let ceil = |kind, window| values(&pool(kind, window, PoolRounding::Ceil, &x));
    // Windows at 0, 2, 4; the last one hangs over.
    assert_eq!(ceil(PoolKind::Max, window(3, 2, [0; 4])), [3., 5., 6.]);
    assert_eq!(values(&pool(PoolKind::Max, window(3, 2, [0; 4]), PoolRounding::Floor, &x)), [3., 5.]);
    // What hangs over the padding is not counted, the padding is.
    assert_eq!(ceil(PoolKind::AveragePadded, window(3, 2, [0, 1, 0, 1])), [1., 3., 5., 3.]);
    assert_eq!(ceil(PoolKind::AverageInside, window(3, 2, [0, 1, 0, 1])), [1.5, 3., 5., 6.]);
    // A window that begins behind the map is none: at −1, 2, 5, and not at 8.
    assert_eq!(ceil(PoolKind::Max, window(4, 3, [0, 1, 0, 2])), [3., 6., 6.]);
}

#[test]
fn a_convolution_of_floats_is_that_of_integers() {
    // Sums of small integers are exact, and the two are computed in different ways.
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i64::from(state >> 24) % 7 - 3
    };
    for (groups, dilation, stride, size) in
        [(1, 1, 1, 9), (2, 2, 1, 11), (4, 1, 2, 12), (1, 3, 3, 17), (1, 1, 1, 300)]
    {
        let window = Window::plane([3, 2], [stride; 2], [dilation; 2], [1, 0, 2, 1]);
        let conv = Conv { window, groups };
        let mut draw =
            |shape: &[usize]| -> Vec<i64> { (0..shape.iter().product()).map(|_| next()).collect() };
        let shapes = [vec![2, 4, size, 5], vec![8, 4 / groups, 3, 2], vec![8]];
        let data: Vec<Vec<i64>> = shapes.iter().map(|shape| draw(shape)).collect();
        let of = |dtype| -> Vec<Tensor> {
            let pairs = shapes.iter().zip(&data);
            pairs
                .map(|(shape, data)| match dtype {
                    DType::F32 => floats(shape, &data.iter().map(|&value| value as f32).collect::<Vec<_>>()),
                    _ => Tensor::int(dtype, shape.clone(), data.clone()).unwrap(),
                })
                .collect()
        };
        assert_eq!(values(&run(conv.clone(), &of(DType::F32))), values(&run(conv, &of(DType::I32))));
    }
}

#[test]
fn a_transposed_convolution_spreads_its_kernel() {
    let window = Window::plane([1, 3], [1, 2], [1; 2], [0, 1, 0, 0]);
    let conv = ConvTranspose { window, groups: 1, output_padding: vec![0, 1] };
    let inputs =
        [floats(&[1, 1, 1, 2], &[1., 10.]), floats(&[1, 1, 1, 3], &[1., 2., 3.]), floats(&[1], &[0.5])];
    // 1 2 3+10 20 30, the first cut, one added.
    assert_eq!(values(&run(conv, &inputs)), [2.5, 13.5, 20.5, 30.5, 0.5]);
}

#[test]
fn axes_of_one_repeat() {
    let column = floats(&[2, 1], &[1., 2.]);
    let row = floats(&[3], &[10., 20., 30.]);
    assert_eq!(values(&run(Binary::Add, &[column, row])), [11., 21., 31., 12., 22., 32.]);
}

#[test]
fn integers_wrap_and_divide_towards_zero() {
    let int = |dtype, data: &[i64]| Tensor::int(dtype, [data.len()], data.to_vec()).unwrap();
    let sum = run(Binary::Add, &[int(DType::I8, &[127, -128]), int(DType::I8, &[1, -1])]);
    assert_eq!(sum.as_int(), Some(&[-128, 127][..]));
    let quotient = run(Binary::Div, &[int(DType::I32, &[-7, 7, 7]), int(DType::I32, &[2, -2, 0])]);
    assert_eq!(quotient.as_int(), Some(&[-3, -3, 0][..]));
    let large = run(Binary::Div, &[int(DType::U64, &[-1]), int(DType::U64, &[2])]);
    assert_eq!(large.as_int(), Some(&[i64::MAX][..]));
}

#[test]
fn slices_run_backwards_and_pads_mirror() {
    let x = floats(&[4], &[1., 2., 3., 4.]);
    let back = Op::Slice(vec![Range { start: 3, step: -2, length: 2 }]);
    assert_eq!(values(&run(back, std::slice::from_ref(&x))), [4., 2.]);
    let pad = |kind| values(&run(Pad { before: vec![2], after: vec![1], kind }, std::slice::from_ref(&x)));
    assert_eq!(pad(PadKind::Constant(9.)), [9., 9., 1., 2., 3., 4., 9.]);
    assert_eq!(pad(PadKind::Edge), [1., 1., 1., 2., 3., 4., 4.]);
    assert_eq!(pad(PadKind::Reflect), [3., 2., 1., 2., 3., 4., 3.]);
    assert_eq!(pad(PadKind::Symmetric), [2., 1., 1., 2., 3., 4., 4.]);
    assert_eq!(pad(PadKind::Wrap), [3., 4., 1., 2., 3., 4., 1.]);
}

#[test]
fn resizes_place_pixels_where_they_say() {
    let x = floats(&[1, 1, 1, 2], &[0., 4.]);
    let resize = |kind, coordinates| {
        let resize = Resize {
            shape: vec![1, 1, 1, 4],
            scales: vec![1., 1., 1., 2.],
            kind,
            coordinates,
            exclude_outside: false,
            antialias: false,
        };
        values(&run(resize, std::slice::from_ref(&x)))
    };
    assert_eq!(resize(ResizeKind::Linear, Coordinates::Asymmetric), [0., 2., 4., 4.]);
    assert_eq!(resize(ResizeKind::Linear, Coordinates::HalfPixel), [0., 1., 3., 4.]);
    assert_eq!(
        resize(ResizeKind::Nearest(NearestRounding::Floor), Coordinates::Asymmetric),
        [0., 0., 4., 4.]
    );
    let aligned = resize(ResizeKind::Linear, Coordinates::AlignCorners);
    assert!(aligned.iter().zip([0., 4. / 3., 8. / 3., 4.]).all(|(a, b)| (a - b).abs() < 1e-6), "{aligned:?}");
}

#[test]
fn constants_are_computed_at_once_and_the_unread_go() {
    let mut builder = Builder::new();
    let x = builder.input("x", Spec::new(DType::F32, [2])).unwrap();
    let c = builder.floats(&[2], vec![1., -1.]).unwrap();
    let folded = builder.node(&Place::default(), Op::Unary(Unary::Relu), &[c]).unwrap();
    assert_eq!(builder.known(folded).unwrap().as_f32(), Some(&[1., 0.][..]));
    builder.node(&Place::default(), Op::Unary(Unary::Exp), &[x]).unwrap();
    let sum = builder.node(&Place::default(), Op::Binary(Binary::Add), &[x, folded]).unwrap();
    builder.output("sum", sum);
    let graph = builder.finish();
    assert_eq!(graph.nodes.len(), 1);
    assert_eq!(values(&evaluate(&graph, &[floats(&[2], &[1., 1.])], &mut |_, _| ()).unwrap()[0]), [2., 1.]);
}

#[test]
fn few_bytes_make_no_large_constant() {
    let mut builder = Builder::new();
    let one = builder.floats(&[1], vec![1.]).unwrap();
    // Too large to be computed while the network is read: it becomes a node.
    let large = builder.node(&Place::default(), Op::Tile(vec![1 << 24]), &[one]).unwrap();
    assert!(builder.known(large).is_none());
    assert!(builder.node(&Place::default(), Op::Tile(vec![1 << 29]), &[one]).is_err());
    let made = builder.computed("zeros", Spec::new(DType::F32, [1 << 24]), |len| Data::F32(vec![0.; len]));
    assert!(made.is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut builder = Builder::new();
    let x = builder.input("x", Spec::new(DType::F32, [1, 3, 4, 4])).unwrap();
    let i = builder.input("i", Spec::new(DType::I64, [2])).unwrap();
    let w = builder.floats(&[2, 2, 3, 3], vec![0.; 36]).unwrap();
    let place = Place { name: "c1".to_owned(), kind: "Conv".to_owned(), ..Place::default() };
    let conv = Conv { window: Window::new([3, 3]), groups: 1 };
    let error = builder.node(&place, Op::Conv(conv), &[x, w]).unwrap_err();
    assert!(error.to_string().contains("c1"), "{error}");
    let cases: [(Op, Vec<Value>); 7] = [
        (Op::Binary(Binary::Add), vec![x, i]),
        (Op::Binary(Binary::Add), vec![x]),
        (Op::Unary(Unary::Exp), vec![i]),
        (Op::Reshape(vec![5]), vec![x]),
        (Op::Transpose(vec![0, 0, 1, 2]), vec![x]),
        (Op::Slice(vec![Range { start: 1, step: 1, length: 2 }]), vec![i]),
        (Op::Concat { axis: 4 }, vec![x, x]),
    ];
    for (op, inputs) in cases {
        assert!(builder.node(&place, op.clone(), &inputs).is_err(), "{op:?}");
    }
}

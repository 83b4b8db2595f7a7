//! What others call what: the table of the guide, each of whose lines is compiled and run here. `WRITE=1` writes it.

use std::fs;

use ndarray::s;
use wengert::{Conv, DType::F32, DType::F64, Keep, Pool, Recorder, Var};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/wengert/guide.md");

macro_rules! rows {
    ($($numpy:literal, $torch:literal, $jax:literal => $ours:expr;)+) => {
        vec![$(([$numpy, $torch, $jax], stringify!($ours), $ours)),+]
    };
}

#[test]
fn the_table_of_the_guide_compiles_line_by_line() {
    let t = Recorder::default();
    let (x, y) = (t.input_with([[0.5, 0.25], [0.75, 0.125]]), t.input_with([[1.0, 2.0], [3.0, 4.0]]));
    let (v, labels, index) = (t.input_with([0.5, -0.5]), t.input_with([1, 0]), t.input_with([1, 1]));
    let mask = x.gt(0.3);
    let (image, kernel) = (t.full(F64, [1, 2, 4, 4], 0.5), t.full(F64, [3, 2, 3, 3], 0.1));
    let rows: Vec<([&str; 3], &str, Var<'_>)> = rows! {
        "np.array(a)", "torch.tensor(a)", "jnp.array(a)" => t.constant([1.0, 2.0]);
        "np.zeros((2, 3))", "torch.zeros(2, 3)", "jnp.zeros((2, 3))" => t.full(F64, (2, 3), 0.0);
        "x.astype(np.float32)", "x.to(torch.float32)", "x.astype(jnp.float32)" => x.cast(F32);
        "x * 2 + y", "x * 2 + y", "x * 2 + y" => x * 2 + y;
        "x ** 2", "x ** 2", "x ** 2" => x.pow(2);
        "np.exp(x)", "x.exp()", "jnp.exp(x)" => x.exp();
        "np.log(x)", "x.log()", "jnp.log(x)" => x.ln();
        "np.log1p(x)", "x.log1p()", "jnp.log1p(x)" => x.ln_1p();
        "np.expm1(x)", "x.expm1()", "jnp.expm1(x)" => x.exp_m1();
        "np.abs(x)", "x.abs()", "jnp.abs(x)" => x.abs();
        "np.maximum(x, y)", "torch.maximum(x, y)", "jnp.maximum(x, y)" => x.maximum(y);
        "np.clip(x, 0, 1)", "x.clamp(0, 1)", "jnp.clip(x, 0, 1)" => x.clamp(0, 1);
        "np.where(m, x, y)", "torch.where(m, x, y)", "jnp.where(m, x, y)" => mask.select(x, y);
        "x == y", "x == y", "x == y" => x.eq(y);
        "(x > 0) & ~m", "(x > 0) & ~m", "(x > 0) & ~m" => x.gt(0) & !mask;
        "np.any(m)", "m.any()", "jnp.any(m)" => mask.any(());
        "np.count_nonzero(m, axis=0)", "m.count_nonzero(0)", "jnp.count_nonzero(m, 0)" => mask.count(0);
        "x.sum()", "x.sum()", "x.sum()" => x.sum(());
        "x.sum(axis=-1)", "x.sum(-1)", "x.sum(-1)" => x.sum(-1);
        "x.mean(0, keepdims=True)", "x.mean(0, keepdim=True)", "x.mean(0, keepdims=True)" => x.mean(Keep(0));
        "x.max(axis=1)", "x.amax(1)", "x.max(1)" => x.max(1);
        "x.argmax(axis=1)", "x.argmax(1)", "x.argmax(1)" => x.argmax(1);
        "x.std()", "x.std(correction=0)", "x.std()" => x.std(());
        "np.linalg.norm(v)", "torch.linalg.norm(v)", "jnp.linalg.norm(v)" => v.norm(());
        "scipy.special.logsumexp(x, 1)", "x.logsumexp(1)", "jax.nn.logsumexp(x, 1)" => x.logsumexp(1);
        "x.reshape(-1)", "x.view(-1)", "x.reshape(-1)" => x.reshape(-1);
        "x.T", "x.T", "x.T" => x.t();
        "np.transpose(x, (1, 0))", "x.permute(1, 0)", "jnp.transpose(x, (1, 0))" => x.permute([1, 0]);
        "x[:, None]", "x.unsqueeze(1)", "x[:, None]" => x.insert_axis(1);
        "np.squeeze(x)", "x.squeeze()", "jnp.squeeze(x)" => x.squeeze(());
        "np.broadcast_to(v, (3, 2))", "v.expand(3, 2)", "jnp.broadcast_to(v, (3, 2))" => v.broadcast_to([3, 2]);
        "x[0]", "x[0]", "x[0]" => x.at(0);
        "x[:, -1]", "x[:, -1]", "x[:, -1]" => x.part(s![.., -1]);
        "x[::-1]", "x.flip(0)", "x[::-1]" => x.flip(0);
        "x[:, 0] = 1", "x[:, 0] = 1", "x.at[:, 0].set(1)" => x.set_part(s![.., 0], 1);
        "x[1:] += v", "x[1:] += v", "x.at[1:].add(v)" => x.add_part(s![1..], v);
        "np.concatenate([x, y], 1)", "torch.cat([x, y], 1)", "jnp.concatenate([x, y], 1)" => t.concat([x, y], 1);
        "np.stack([x, y])", "torch.stack([x, y])", "jnp.stack([x, y])" => t.stack([x, y], 0);
        "np.pad(v, (1, 2))", "F.pad(v, (1, 2))", "jnp.pad(v, (1, 2))" => v.pad([(1, 2)], 0.0);
        "np.roll(v, 1)", "v.roll(1)", "jnp.roll(v, 1)" => v.roll(1, 0);
        "np.take(x, i, axis=0)", "x.index_select(0, i)", "jnp.take(x, i, axis=0)" => x.gather(index);
        "np.add.at(x, i, y)", "x.index_add(0, i, y)", "x.at[i].add(y)" => x.scatter_add(index, y);
        "np.multiply.at(x, i, y)", "x.index_reduce(0, i, y, 'prod')", "x.at[i].multiply(y)" => x.scatter_multiply(index, y);
        "np.maximum.at(x, i, y)", "x.index_reduce(0, i, y, 'amax')", "x.at[i].max(y)" => x.scatter_max(index, y);
        "np.take_along_axis(x, i[:, None], 1)", "x.gather(1, i[:, None])", "jnp.take_along_axis(x, i[:, None], 1)" => x.pick(labels);
        "—", "F.conv2d(img, w, padding=1)", "jax.lax.conv(img, w, (1, 1), 'SAME')" => image.conv2d(kernel, Conv::new().padding(1));
        "—", "F.conv_transpose2d(img, w.transpose(0, 1), stride=2)", "jax.lax.conv_transpose(…)" => image.conv_transpose2d(kernel.swap_axes(0, 1), Conv::new().stride(2));
        "—", "F.max_pool2d(img, 2)", "flax.linen.max_pool(…)" => image.max_pool2d(Pool::new(2));
        "—", "F.adaptive_avg_pool2d(img, 1)", "img.mean((2, 3))" => image.adaptive_avg_pool((1, 1));
        "np.linalg.solve(x, v)", "torch.linalg.solve(x, v)", "jnp.linalg.solve(x, v)" => x.solve(v);
        "np.linalg.inv(x)", "torch.linalg.inv(x)", "jnp.linalg.inv(x)" => x.inverse();
        "np.linalg.det(x)", "torch.linalg.det(x)", "jnp.linalg.det(x)" => x.determinant();
        "np.linalg.slogdet(x)", "torch.linalg.slogdet(x)", "jnp.linalg.slogdet(x)" => x.slogdet().1;
        "np.linalg.cholesky(x @ x.T)", "torch.linalg.cholesky(x @ x.T)", "jnp.linalg.cholesky(x @ x.T)" => x.matmul(x.t()).cholesky();
        "np.linalg.lstsq(x, v)[0]", "torch.linalg.lstsq(x, v).solution", "jnp.linalg.lstsq(x, v)[0]" => x.least_squares(v);
        "np.cumsum(x, 0)", "x.cumsum(0)", "jnp.cumsum(x, 0)" => x.cumsum(0);
        "np.cumprod(x, 0)", "x.cumprod(0)", "jnp.cumprod(x, 0)" => x.cumprod(0);
        "np.maximum.accumulate(x, 0)", "x.cummax(0).values", "jax.lax.cummax(x, 0)" => x.cummax(0);
        "np.prod(x, 1)", "x.prod(1)", "jnp.prod(x, 1)" => x.prod(1);
        "np.median(x, 1)", "—", "jnp.median(x, 1)" => x.median(1);
        "np.sort(x, 1)", "x.sort(1).values", "jnp.sort(x, 1)" => x.sort(1);
        "np.argsort(v)", "v.argsort()", "jnp.argsort(v)" => v.argsort(0);
        "—", "x.topk(1).values", "jax.lax.top_k(x, 1)[0]" => x.top_k(1, -1).0;
        "np.linalg.norm(x, 1, axis=0)", "x.norm(1, 0)", "jnp.linalg.norm(x, 1, axis=0)" => x.norm_of(1.0, 0);
        "np.repeat(x, 2, 1)", "x.repeat_interleave(2, 1)", "jnp.repeat(x, 2, 1)" => x.repeat(2, 1);
        "np.tile(v, 2)", "v.tile(2)", "jnp.tile(v, 2)" => v.tile(2, 0);
        "np.pad(v, 1, 'reflect')", "—", "jnp.pad(v, 1, 'reflect')" => v.pad_reflect([(1, 1)]);
        "x[i, j]", "x[i, j]", "x[i, j]" => x.gather_at([index, labels]);
        "np.arange(3)", "torch.arange(3)", "jnp.arange(3)" => t.arange(3);
        "np.linspace(0, 1, 5)", "torch.linspace(0, 1, 5)", "jnp.linspace(0, 1, 5)" => t.linspace(F64, 0.0, 1.0, 5);
        "np.eye(3)[labels]", "F.one_hot(labels, 3)", "jax.nn.one_hot(labels, 3)" => labels.one_hot(3, F64);
        "np.tril(x)", "x.tril()", "jnp.tril(x)" => x.tril(0);
        "np.trace(x)", "x.trace()", "jnp.trace(x)" => x.trace();
        "np.diag(v)", "v.diag()", "jnp.diag(v)" => v.diag_embed();
        "np.outer(v, v)", "v.outer(v)", "jnp.outer(v, v)" => v.outer(v);
        "np.kron(x, y)", "x.kron(y)", "jnp.kron(x, y)" => x.kron(y);
        "np.tensordot(x, y, ([1], [0]))", "torch.tensordot(x, y, ([1], [0]))", "jnp.tensordot(x, y, ([1], [0]))" => x.tensordot(y, 1, 0);
        "x @ y", "x @ y", "x @ y" => x.matmul(y);
        "np.dot(v, v)", "v.dot(v)", "jnp.dot(v, v)" => v.matmul(v);
        "np.einsum('ij,kj->ik', x, y)", "torch.einsum('ij,kj->ik', x, y)", "jnp.einsum('ij,kj->ik', x, y)" => t.einsum("ij,kj->ik", [x, y]);
        "—", "F.relu(x)", "jax.nn.relu(x)" => x.relu();
        "—", "F.softplus(x)", "jax.nn.softplus(x)" => x.softplus();
        "—", "F.softmax(x, -1)", "jax.nn.softmax(x)" => x.softmax();
        "—", "F.cross_entropy(x, labels)", "optax.softmax_cross_entropy_with_integer_labels(x, labels).mean()" => x.cross_entropy(labels);
        "scipy.special.gammaln(y)", "y.lgamma()", "jax.lax.lgamma(y)" => y.ln_gamma();
        "scipy.special.xlogy(x, y)", "torch.xlogy(x, y)", "jax.scipy.special.xlogy(x, y)" => x.xlogy(y);
        "np.logaddexp(x, y)", "torch.logaddexp(x, y)", "jnp.logaddexp(x, y)" => x.logaddexp(y);
        "np.arctan2(x, y)", "torch.atan2(x, y)", "jnp.arctan2(x, y)" => x.atan2(y);
        "np.round(x)", "x.round()", "jnp.round(x)" => x.round_ties_even();
        "np.fmod(x, y)", "torch.fmod(x, y)", "jnp.fmod(x, y)" => x % y;
        "np.nan_to_num(x)", "x.nan_to_num()", "jnp.nan_to_num(x)" => x.nan_to_num();
        "—", "F.gelu(x)", "jax.nn.gelu(x, False)" => x.gelu();
        "—", "F.silu(x)", "jax.nn.silu(x)" => x.silu();
        "—", "F.layer_norm(x, (2,))", "jax.nn.standardize(x)" => x.layer_norm(-1, 1e-5);
        "—", "F.scaled_dot_product_attention(x, y, y)", "jax.nn.dot_product_attention(…)" => x.attention(y, y, None);
        "—", "F.huber_loss(x, y, reduction='none')", "optax.huber_loss(x, y)" => x.huber(y, 1.0);
        "—", "F.mse_loss(x, y)", "jnp.mean((x - y) ** 2)" => x.mse(y);
        "—", "x.detach()", "jax.lax.stop_gradient(x)" => x.stop_gradient();
        "—", "torch.autograd.grad(f(x), x)", "jax.grad(f)(x)" => x.sin().sum(()).gradients(x)[x];
        "—", "torch.func.jvp(f, (x,), (y,))", "jax.jvp(f, (x,), (y,))" => t.jvp(&[x.sin()], &[(x, y)])[0];
        "—", "class F(torch.autograd.Function)", "@jax.custom_jvp" => t.custom_jvp(&[x], |x| x[0].sin(), |x, _, dx| dx[0] * x[0].cos());
        "—", "torch.func.vmap(f)(x)", "jax.vmap(f)(x)" => t.vmap(&[(x, Some(0))], |x| vec![x[0].norm(())])[0];
    };
    let mut table = String::from("| NumPy | PyTorch | JAX | here |\n|---|---|---|---|\n");
    for (theirs, ours, var) in &rows {
        var.value().unwrap_or_else(|e| panic!("{ours}: {e}"));
        let cell =
            |text: &str| if text == "—" { text.into() } else { format!("`{}`", text.replace('|', "\\|")) };
        let theirs: Vec<String> = theirs.iter().map(|text| cell(text)).collect();
        table += &format!("| {} | {} |\n", theirs.join(" | "), cell(ours));
    }
    let guide = fs::read_to_string(GUIDE).unwrap();
    let (text, found) = guide.split_once("| NumPy |").unwrap_or((&guide, ""));
    let (found, due) = (format!("| NumPy |{found}"), table);
    if std::env::var_os("WRITE").is_some() {
        fs::write(GUIDE, format!("{}\n\n{due}", text.trim_end())).unwrap();
    } else {
        assert_eq!(found, due, "WRITE=1 writes the table");
    }
}

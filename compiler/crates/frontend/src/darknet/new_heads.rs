//! A cfg for other classes or anchors: heads, and the convolutions that feed them.

use super::Cfg;
use secateur_base::{Error, Result};
use secateur_ir::{Graph, Op, Source};

/// Returns the cfg with heads for `classes` classes and, if given, these anchors: `[width, height]` in pixels of the
/// input, by rising area, as many as the cfg has.
///
/// # Errors
/// There is no head; a head is not fed by a convolution; another number of anchors.
pub fn with_heads(cfg: &Cfg, graph: &Graph, classes: usize, anchors: Option<&[[f64; 2]]>) -> Result<Cfg> {
    let mut new = cfg.clone();
    let heads = graph.nodes.iter().enumerate().filter(|(_, node)| node.op.is_head());
    let mut count = 0;
    for (layer, node) in heads {
        let locate = |error: Error| graph.locate(layer, error);
        let (filters, all_anchors) = match &node.op {
            Op::Yolo(head) => (head.mask.len() * (5 + classes), head.anchors.len()),
            Op::Region(head) => (head.anchors.len() * (head.coords + 1 + classes), head.anchors.len()),
            _ => return Err(locate(Error::new("this head cannot be given other classes"))),
        };
        let feeds = match node.inputs[0] {
            Source::Layer(feeds) if matches!(graph.nodes[feeds].op, Op::Conv(_)) => feeds,
            _ => return Err(locate(Error::new("the head is not fed by a convolution"))),
        };
        new.set(feeds, "filters", filters);
        new.set(layer, "classes", classes);
        if let Some(anchors) = anchors {
            if anchors.len() != all_anchors {
                return Err(locate(
                    Error::new("another number of anchors")
                        .found(anchors.len().to_string())
                        .allowed(all_anchors.to_string()),
                ));
            }
            // Those of a region head are in cells of its map.
            let cells = match &node.op {
                Op::Region(_) => [node.shape.w, node.shape.h].map(|cells| cells as f64),
                _ => [graph.input.w, graph.input.h].map(|pixels| pixels as f64),
            };
            let scale = [cells[0] / graph.input.w as f64, cells[1] / graph.input.h as f64];
            let texts: Vec<String> =
                anchors.iter().map(|[w, h]| format!("{:.2},{:.2}", w * scale[0], h * scale[1])).collect();
            new.set(layer, "anchors", texts.join(", "));
        }
        count += 1;
    }
    if count == 0 {
        return Err(Error::new("the network has no head")
            .file(cfg.path())
            .allowed("[yolo] or [region] layers"));
    }
    Cfg::parse(cfg.path(), &new.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::build_graph;
    use super::*;

    #[test]
    fn heads_and_what_feeds_them_change() {
        let text = "[net]\nchannels=3\nheight=32\nwidth=64\n[convolutional]\nfilters=16\nsize=1\nactivation=linear\n\
                    [yolo]\nmask=0,1\nanchors=1,2, 3,4, 5,6\nnum=3\nclasses=3\n";
        let cfg = Cfg::parse(std::path::Path::new("x.cfg"), text.as_bytes()).unwrap();
        let graph = build_graph(&cfg).unwrap();
        let new = with_heads(&cfg, &graph, 7, Some(&[[10.0, 12.5], [20.0, 30.0], [40.0, 41.0]])).unwrap();
        let bytes = String::from_utf8(new.to_bytes()).unwrap();
        assert!(bytes.contains("filters=24"), "{bytes}");
        assert!(
            bytes.contains("classes=7") && bytes.contains("anchors=10.00,12.50, 20.00,30.00, 40.00,41.00")
        );
        let graph = build_graph(&new).unwrap();
        assert!(matches!(&graph.nodes[1].op, Op::Yolo(head) if head.classes == 7));
        assert!(with_heads(&cfg, &graph, 7, Some(&[[1.0, 1.0]])).is_err());
    }
}

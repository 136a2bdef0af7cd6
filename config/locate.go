package config

import "go.yaml.in/yaml/v3"

// maxSearched bounds the search for one key: merge keys may lead over the same
// mappings again and again.
const maxSearched = 10_000

// find is the node that names what is at p: its key, or the entry itself. nil
// where the document has none.
func (d *document) find(p *path) *yaml.Node {
	name, _ := d.search(p)
	return name
}

func (d *document) search(p *path) (name, value *yaml.Node) {
	if p == nil {
		return d.root, d.root
	}
	_, parent := d.search(p.up)
	if parent = resolve(parent); parent == nil {
		return nil, nil
	}
	if p.isEntry() {
		if parent.Kind != yaml.SequenceNode || p.index >= len(parent.Content) {
			return nil, nil
		}
		return parent.Content[p.index], parent.Content[p.index]
	}
	budget := maxSearched
	return searchKey(parent, p.key, &budget)
}

// searchKey looks for a key in a mapping and in what it merges, in the order in
// which they win.
func searchKey(node *yaml.Node, key string, budget *int) (name, value *yaml.Node) {
	node = resolve(node)
	if *budget--; *budget < 0 {
		return nil, nil
	}
	if node.Kind == yaml.SequenceNode {
		for _, one := range node.Content {
			if name, value = searchKey(one, key, budget); name != nil {
				return name, value
			}
		}
	}
	if node.Kind != yaml.MappingNode {
		return nil, nil
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		switch k := node.Content[i]; {
		case k.Value == "<<" && k.ShortTag() == "!!merge":
			merged = append(merged, node.Content[i+1])
		case k.Value == key && k.Kind == yaml.ScalarNode:
			return k, node.Content[i+1]
		}
	}
	for _, from := range merged {
		if name, value = searchKey(from, key, budget); name != nil {
			return name, value
		}
	}
	return nil, nil
}

func resolve(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

package exchange

import "container/heap"

// sortable is what a sorted collection holds: something that knows whether it
// comes before another, and keeps its own place, so that it can be moved and
// removed without a search.
type sortable[T any] interface {
	before(other T) bool
	// place returns where the collection may keep the item's index plus one; it
	// holds zero while the item is in no collection.
	place() *int
}

// sorted is a binary heap. An item is in at most one at a time.
type sorted[T sortable[T]] struct{ items items[T] }

// first returns the item that comes before all others.
func (s *sorted[T]) first() (item T, found bool) {
	if len(s.items) == 0 {
		return item, false
	}
	return s.items[0], true
}

// put adds the item, or moves it to where it belongs now.
func (s *sorted[T]) put(item T) {
	if index := *item.place() - 1; index >= 0 {
		heap.Fix(&s.items, index)
		return
	}
	heap.Push(&s.items, item)
}

// remove takes the item out if it is in.
func (s *sorted[T]) remove(item T) {
	if index := *item.place() - 1; index >= 0 {
		heap.Remove(&s.items, index)
	}
}

func (s *sorted[T]) len() int { return len(s.items) }

// items implements heap.Interface.
type items[T sortable[T]] []T

func (h items[T]) Len() int           { return len(h) }
func (h items[T]) Less(i, j int) bool { return h[i].before(h[j]) }

func (h items[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].place(), *h[j].place() = i+1, j+1
}

func (h *items[T]) Push(x any) {
	item := x.(T)
	*h = append(*h, item)
	*item.place() = len(*h)
}

func (h *items[T]) Pop() any {
	last := len(*h) - 1
	item := (*h)[last]
	var none T
	(*h)[last] = none
	*h = (*h)[:last]
	*item.place() = 0
	return item
}

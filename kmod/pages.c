// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages of one model. They live in the inode's page cache, which is what
 * read, mmap, GUP and splice work on; one more reference to each, held by the
 * model, keeps reclaim, migration and drop_caches off.
 *
 * A folio that may still hold a former owner's bytes is not uptodate. It is
 * zeroed, or wholly overwritten by a device, before anyone can read it.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "llmos.h"

#define PAGES_GFP (GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* Where the next folio is to come from. */
struct pages_cursor {
	const struct llmos_placement *placement;
	int node;
};

static void cursor_start(struct pages_cursor *cursor, const struct llmos_placement *placement)
{
	cursor->placement = placement;
	cursor->node = placement->policy == LLMOS_NODES_LOCAL ? numa_mem_id() :
								first_node(placement->nodes);
}

static struct folio *cursor_alloc_order(const struct pages_cursor *cursor, unsigned int order)
{
	gfp_t gfp = PAGES_GFP;

	if (cursor->placement->policy != LLMOS_NODES_LOCAL)
		gfp |= __GFP_THISNODE;
	return __folio_alloc(gfp, order, cursor->node, NULL);
}

/* Where memory is fragmented, smaller folios serve, unless huge ones were demanded. */
static struct folio *cursor_alloc_node(const struct pages_cursor *cursor, unsigned int order)
{
	struct folio *folio = cursor_alloc_order(cursor, order);

	while (!folio && order && !cursor->placement->strict)
		folio = cursor_alloc_order(cursor, --order);
	return folio;
}

static struct folio *cursor_alloc(struct pages_cursor *cursor, unsigned int order)
{
	const struct llmos_placement *placement = cursor->placement;
	struct folio *folio = cursor_alloc_node(cursor, order);
	int next;

	if (placement->policy == LLMOS_NODES_INTERLEAVE && folio)
		cursor->node = next_node_in(cursor->node, placement->nodes);

	while (placement->policy == LLMOS_NODES_BIND && !folio) {
		next = next_node(cursor->node, placement->nodes);
		if (next >= MAX_NUMNODES)
			break;
		cursor->node = next;
		folio = cursor_alloc_node(cursor, order);
	}
	return folio;
}

static int pages_add(struct llmos_model *model, struct folio *folio, pgoff_t index)
{
	int ret = filemap_add_folio(model->inode.i_mapping, folio, index,
				    GFP_KERNEL | __GFP_RETRY_MAYFAIL);

	if (ret) {
		folio_put(folio);
		return ret;
	}
	if (want_init_on_alloc(PAGES_GFP))
		folio_mark_uptodate(folio);
	folio_mark_dirty(folio);	/* clean page cache is fair game */
	folio_unlock(folio);
	model->folios++;
	model->resident += folio_size(folio);
	if (folio_order(folio) == HPAGE_PMD_ORDER)
		model->huge += folio_size(folio);
	return 0;
}

/* The largest order that is aligned at @index and does not pass @end. */
static unsigned int pages_order(pgoff_t index, pgoff_t end, unsigned int order)
{
	while ((1UL << order) > end - index || (index & ((1UL << order) - 1)))
		order--;
	return order;
}

/*
 * The machine keeps 1/64 of its memory: while one task holds the last page,
 * others meet the OOM killer.
 */
static s64 pages_wanted(u64 bytes)
{
	return (bytes >> PAGE_SHIFT) + totalram_pages() / 64;
}

/* Would it fit if everything idle went? */
static bool pages_could_fit(u64 bytes)
{
	return si_mem_available() + (s64)(llmos_evict_possible() >> PAGE_SHIFT) >=
	       pages_wanted(bytes);
}

/* Idle evictable models make room; asked again and again, so that no more go than must. */
static bool pages_spare(u64 bytes)
{
	s64 wanted = pages_wanted(bytes);

	while (si_mem_available() < wanted)
		if (!llmos_evict_idle())
			return false;
	return true;
}

/* The next folio. Asking for room takes longer than a small page does. */
static struct folio *pages_next(struct pages_cursor *cursor, pgoff_t index, pgoff_t end)
{
	if (!(index % HPAGE_PMD_NR) && !pages_spare(HPAGE_PMD_SIZE))
		return NULL;
	return cursor_alloc(cursor, pages_order(index, end, cursor->placement->order));
}

/* On failure the caller drops the inode, and with it what was allocated. */
int llmos_pages_alloc(struct llmos_model *model, const struct llmos_placement *placement,
		      s32 *failed_node)
{
	pgoff_t index = 0, end = DIV_ROUND_UP(model->bytes, PAGE_SIZE);
	struct pages_cursor cursor;
	struct folio *folio;
	int ret;

	cursor_start(&cursor, placement);
	if (!pages_could_fit(model->bytes)) {
		*failed_node = cursor.node;
		return -ENOMEM;
	}
	while (index < end) {
		if (fatal_signal_pending(current))
			return -EINTR;
		folio = pages_next(&cursor, index, end);
		if (!folio) {
			*failed_node = cursor.node;
			return -ENOMEM;
		}
		index += folio_nr_pages(folio);
		ret = pages_add(model, folio, index - folio_nr_pages(folio));
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/*
 * The folio at @offset. The model's own reference keeps it for as long as the
 * caller keeps the model's pages.
 */
struct folio *llmos_pages_folio(struct llmos_model *model, u64 offset)
{
	struct folio *folio = filemap_get_folio(model->inode.i_mapping, offset >> PAGE_SHIFT);

	if (IS_ERR(folio))
		return NULL;
	folio_put(folio);
	return folio;
}

void llmos_pages_free(struct llmos_model *model)
{
	struct address_space *mapping = model->inode.i_mapping;
	struct folio *folio;
	u64 offset = 0;

	while (offset < model->bytes) {
		folio = llmos_pages_folio(model, offset);
		if (!folio)
			break;	/* allocation ended here */
		offset = folio_pos(folio) + folio_size(folio);
		folio_put(folio);
		cond_resched();
	}
	truncate_inode_pages(mapping, 0);
	model->folios = 0;
	model->resident = 0;
	model->huge = 0;
	llmos_memory_uncharge(model->charged);
	model->charged = 0;
}

void llmos_pages_prepare(struct folio *folio)
{
	if (folio_test_uptodate(folio))
		return;
	folio_lock(folio);
	if (!folio_test_uptodate(folio)) {
		folio_zero_range(folio, 0, folio_size(folio));
		folio_mark_uptodate(folio);
	}
	folio_unlock(folio);
}

/* Before the seal: bytes never written, and those behind the end, read as zero. */
int llmos_pages_finish(struct llmos_model *model)
{
	struct folio *folio;
	u64 offset = 0, end;

	for (; offset < model->bytes; offset = end) {
		if (fatal_signal_pending(current))
			return -EINTR;
		folio = llmos_pages_folio(model, offset);
		end = folio_pos(folio) + folio_size(folio);
		llmos_pages_prepare(folio);
		if (end > model->bytes)
			folio_zero_segment(folio, model->bytes - folio_pos(folio), folio_size(folio));
		cond_resched();
	}
	return 0;
}

u64 llmos_pages_pinned(struct llmos_model *model)
{
	struct folio *folio;
	u64 offset = 0, pinned = 0;

	if (atomic_read(&model->dma_maps))
		return model->resident;
	while (offset < model->bytes) {
		folio = llmos_pages_folio(model, offset);
		if (!folio)
			break;
		offset = folio_pos(folio) + folio_size(folio);
		if (folio_maybe_dma_pinned(folio))
			pinned += folio_size(folio);
		cond_resched();
	}
	return pinned;
}

bool llmos_pages_locked(struct llmos_model *model)
{
	struct folio *folio;
	u64 offset = 0;

	while (offset < model->bytes) {
		folio = llmos_pages_folio(model, offset);
		if (!folio)
			break;
		if (folio_test_locked(folio))
			return true;
		offset = folio_pos(folio) + folio_size(folio);
		cond_resched();
	}
	return false;
}

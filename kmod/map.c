// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping a model, and taking mappings away.
 *
 * A revoked grant must not be able to fault a page in again. grant.c sets its
 * flag and calls llmos_unmap(), which waits for every fault that may have read
 * the flag before: map_pages runs under RCU, fault under the folio lock. Only
 * then does it remove the entries of the page tables; the others fault again.
 */
#include <linux/mm.h>
#include <linux/rcupdate.h>

#include "llmos.h"

static bool vma_revoked(const struct vm_area_struct *vma)
{
	return READ_ONCE(llmos_grant_of(vma->vm_file)->revoked);
}

/*
 * A long-term pin for reading, on a private mapping, wants the process's own
 * copy of the page. From a huge page there is no way to one: the kernel removes
 * that, and would have us map it again for ever. The pin fails with EFAULT.
 */
static bool fault_unshares(const struct vm_fault *vmf)
{
	return (vmf->flags & FAULT_FLAG_UNSHARE) && !(vmf->vma->vm_flags & VM_SHARED);
}

static vm_fault_t map_fault(struct vm_fault *vmf)
{
	vm_fault_t ret;

	if (vma_revoked(vmf->vma) || fault_unshares(vmf))
		return VM_FAULT_SIGBUS;
	ret = filemap_fault(vmf);
	if ((ret & VM_FAULT_LOCKED) && vma_revoked(vmf->vma)) {
		folio_unlock(page_folio(vmf->page));
		put_page(vmf->page);
		vmf->page = NULL;
		return VM_FAULT_SIGBUS;
	}
	return ret;
}

/* May this entry, which maps nothing yet, map a whole huge page? */
static bool fits_pmd(struct vm_area_struct *vma, unsigned long address, pmd_t *pmd)
{
	struct folio *folio;

	if (!pmd_none(*pmd) || !thp_vma_suitable_order(vma, address, HPAGE_PMD_ORDER))
		return false;
	/* Stable: the pages of a model that is mapped stay. */
	folio = xa_load(&vma->vm_file->f_mapping->i_pages, linear_page_index(vma, address));
	return folio && !xa_is_value(folio) && folio_order(folio) == HPAGE_PMD_ORDER;
}

/*
 * The huge pages around a fault, as the kernel maps small pages around one: they
 * are there, and a fault costs more than all these entries of one page table.
 */
static vm_fault_t map_huge_pages(struct vm_fault *vmf)
{
	const unsigned long around = 16 * HPAGE_PMD_SIZE, begin = ALIGN_DOWN(vmf->address, around);
	unsigned long address;

	for (address = begin; address < begin + around; address += HPAGE_PMD_SIZE) {
		struct vm_fault near = {
			.vma = vmf->vma,
			.gfp_mask = vmf->gfp_mask,
			.pgoff = linear_page_index(vmf->vma, address),
			.address = address,
			.real_address = address,
			.flags = vmf->flags,
			.pmd = vmf->pmd + pmd_index(address) - pmd_index(vmf->address),
			.pud = vmf->pud,
		};

		if (fits_pmd(vmf->vma, address, near.pmd))
			filemap_map_pages(&near, near.pgoff, near.pgoff + HPAGE_PMD_NR - 1);
	}
	return pmd_none(*vmf->pmd) ? 0 : VM_FAULT_NOPAGE;
}

/*
 * Called under RCU, before ->fault. Left to that: the last huge page of a file,
 * which filemap_map_pages() of newer kernels does not map by one entry, and what
 * fault_unshares().
 */
static vm_fault_t map_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	if (vma_revoked(vmf->vma))
		return 0;
	if (fits_pmd(vmf->vma, vmf->address, vmf->pmd))
		return fault_unshares(vmf) ? 0 : map_huge_pages(vmf);
	return filemap_map_pages(vmf, start, end);
}

static const struct vm_operations_struct map_ops = {
	.fault = map_fault,
	.map_pages = map_map_pages,
};

static int mmap_check(struct file *file, const struct vm_area_struct *vma)
{
	int ret = llmos_grant_check(file);

	if (ret)
		return ret;
	if (vma->vm_flags & VM_EXEC)	/* mounts say so too, but not that of dma-bufs */
		return -EPERM;
	return (vma->vm_flags & VM_SHARED) && (vma->vm_flags & VM_WRITE) ? -EPERM : 0;
}

int llmos_mmap(struct file *file, struct vm_area_struct *vma)
{
	int ret = mmap_check(file, vma);

	llmos_event(LLMOS_EVENT_MAP, llmos_model_of(file), vma->vm_end - vma->vm_start, ret);
	if (ret)
		return ret;
	if (vma->vm_flags & VM_SHARED)
		vm_flags_clear(vma, VM_MAYWRITE);
	/* VM_DONTEXPAND also keeps MADV_COLLAPSE from mapping past ->fault. */
	vm_flags_mod(vma, VM_DONTDUMP | VM_DONTEXPAND, VM_MAYEXEC);
	vma->vm_ops = &map_ops;
	return 0;
}

/* Private copies that a process made by writing are its own and stay. */
void llmos_unmap(struct llmos_model *model)
{
	struct folio *folio;
	u64 offset;

	synchronize_rcu();
	for (offset = 0; offset < model->bytes; offset = folio_pos(folio) + folio_size(folio)) {
		folio = llmos_pages_folio(model, offset);
		folio_lock(folio);
		folio_unlock(folio);
		cond_resched();
	}
	unmap_mapping_range(model->inode.i_mapping, 0, 0, 0);
}

;; SPDX-License-Identifier: MIT
;; churn.scm - lists, numbers, strings, a table: four times the memory that the test gives
(use-modules (srfi srfi-1))

(define (make-tree depth)
  (if (= depth 0) '() (cons (make-tree (- depth 1)) (make-tree (- depth 1)))))
(define (count-tree tree)
  (if (null? tree) 1 (+ (count-tree (car tree)) (count-tree (cdr tree)))))

(define trees (map (lambda (i) (make-tree 14)) (iota 40)))
(define table (make-hash-table))
(do ((i 0 (+ i 1))) ((= i 40000)) (hash-set! table i (number->string (* i i))))
(do ((i 0 (+ i 1))) ((= i 20)) (make-tree 14))
(format #t "~a ~a~%" (fold + 0 (map count-tree trees))
        (hash-fold (lambda (key value sum) (+ sum key (string-length value))) 0 table))
